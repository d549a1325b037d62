"""Addresses and names of this machine."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address


async def resolve(name: str) -> list[str]:
    """The addresses of a host name, once each. Raises OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def is_ours(address: str) -> bool:
    """Whether an address belongs to this machine: only such a one can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether no other machine can reach it."""
    return ip_address(address.partition("%")[0]).is_loopback


def reachable(host: str) -> list[str]:
    """Where a listener on `host` is reached from here: the unspecified address is every one."""
    match host:
        case "0.0.0.0":  # noqa: S104
            return ["127.0.0.1"]
        case "::":
            return ["::1", "127.0.0.1"]  # a kernel without IPv6 has only the second
        case _:
            return [host]
