"""PROXY protocol, versions 1 and 2: a load balancer sends the client's address before the client's bytes.

Specification: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from registry_proxy.aio.descriptors import readable
from registry_proxy.policy.access import Address, ipv4_of_mapped, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNATURE_2 = b"\r\n\r\n\x00\r\nQUIT\n"
# In bytes. Section 2.1: the longest line of version 1, with its line end. Section 2.2: the fixed part of version 2.
_MAX_LINE = 107
_FIXED_LENGTH = 16
_ADDRESS_LENGTHS = {1: 4, 2: 16}  # bytes by address family: IPv4, IPv6
_MAX_REST = 2048


class InvalidProxyHeaderError(ValueError):
    """The bytes are not a PROXY header: the peer is not the load balancer."""


def parse_line(line: bytes) -> Address | None:
    """Return the client's address in a version 1 line; None if the connection is the proxy's (`UNKNOWN`).

    Raise InvalidProxyHeaderError.
    """
    match line.removesuffix(b"\r\n").split(b" "):
        case [b"PROXY", b"UNKNOWN", *_]:
            return None
        case [b"PROXY", b"TCP4" | b"TCP6", source, _, _, _]:
            address = parse_address(source.decode("latin-1"))
            if address is not None:
                return address
    raise InvalidProxyHeaderError("the PROXY line has no source address")


def parse_binary(fixed: bytes, rest: bytes) -> Address | None:
    """Return the client's address in a version 2 header; None if the connection is the proxy's (`LOCAL`).

    Raise InvalidProxyHeaderError.
    """
    version_command, family = fixed[12], fixed[13] >> 4
    if version_command >> 4 != 2 or version_command & 0xF > 1:
        raise InvalidProxyHeaderError("the PROXY header has an unknown version or command")
    length = _ADDRESS_LENGTHS.get(family)
    if version_command & 0xF == 0 or length is None:
        return None
    if len(rest) < length:
        raise InvalidProxyHeaderError("the PROXY header is too short for its address")
    return ipv4_of_mapped(ip_address(rest[:length]))


async def read_header(sock: socket.socket) -> Address | None:
    """Read the header, and no byte more, from a new connection, and return the client's address.

    Raise InvalidProxyHeaderError or OSError.
    """
    start = await _peek(sock, len(_SIGNATURE_2), lambda seen: seen.startswith(b"PROXY "))
    if start.startswith(b"PROXY "):
        line = await _peek(sock, _MAX_LINE, lambda seen: b"\r\n" in seen)
        end = line.find(b"\r\n")
        if end < 0:
            raise InvalidProxyHeaderError("the PROXY line is too long")
        return parse_line(await _read(sock, end + 2))
    if not start.startswith(_SIGNATURE_2):
        raise InvalidProxyHeaderError("the connection does not start with a PROXY header")
    fixed = await _read(sock, _FIXED_LENGTH)
    (length,) = struct.unpack("!H", fixed[14:16])
    if length > _MAX_REST:
        raise InvalidProxyHeaderError("the PROXY header is too long")
    return parse_binary(fixed, await _read(sock, length))


async def _peek(sock: socket.socket, length: int, is_enough: Callable[[bytes], bool]) -> bytes:
    """Return the first `length` bytes, or fewer if they are enough, without consuming them."""
    seen = b""
    while len(seen) < length and not is_enough(seen):
        # The low-water mark makes the socket readable only when there are more bytes than in the previous peek.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)
        await readable(sock.fileno())
        more = sock.recv(length, socket.MSG_PEEK)
        if not more:
            # A load balancer's health check.
            raise ConnectionResetError("the connection was closed without a PROXY header")
        if len(more) <= len(seen):
            raise InvalidProxyHeaderError("the connection ended within the PROXY header")
        seen = more
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return seen


async def _read(sock: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < length:
        more = await loop.sock_recv(sock, length - len(received))
        if not more:
            raise InvalidProxyHeaderError("the connection ended within the PROXY header")
        received += more
    return received
