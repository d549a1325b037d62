"""Addresses of host names and of this machine."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address


async def resolve(name: str) -> list[str]:
    """Return the addresses of a host name, without duplicates. Raise OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def is_ours(address: str) -> bool:
    """Return whether an address belongs to this machine: only then can it be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Return whether no other machine can reach an address."""
    return ip_address(address.partition("%")[0]).is_loopback
