"""PROXY headers, whole and broken, in one piece and in many, before plain HTTP and before TLS."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from registry_proxy.server.proxy_protocol import InvalidProxyHeaderError, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REQUEST = b"GET /v2/ HTTP/1.1\r\n\r\n"


def binary(
    command: int = 0x21, family: int = 0x11, addresses: bytes | None = None, *, length: int | None = None
) -> bytes:
    """A version 2 header; by default TCP over IPv4 from 192.0.2.7."""
    if addresses is None:
        addresses = ipv4()
    size = len(addresses) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + addresses


def ipv4(source: str = "192.0.2.7") -> bytes:
    return ip_address(source).packed + ip_address("198.51.100.1").packed + struct.pack("!HH", 4711, 443)


def ipv6(source: str = "2001:db8::7") -> bytes:
    return ip_address(source).packed + ip_address("2001:db8::1").packed + struct.pack("!HH", 4711, 443)


Pair = tuple[socket.socket, socket.socket]


@contextmanager
def connected() -> Iterator[Pair]:
    """The load balancer's end and ours, of a real TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    with theirs, ours:
        yield theirs, ours


@pytest.fixture
def pair() -> Iterator[Pair]:
    with connected() as pair:
        yield pair


VALID = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 443\r\n", "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),  # 107 bytes, the longest there is
    (binary(), "192.0.2.7"),
    (binary(family=0x21, addresses=ipv6()), "2001:db8::7"),
    (binary(family=0x21, addresses=ipv6("::ffff:192.0.2.7")), "192.0.2.7"),
    (binary(addresses=ipv4() + b"\x04\x00\x01\x00"), "192.0.2.7"),  # with a TLV
    (binary(addresses=ipv4() + b"\x20" * 2000), "192.0.2.7"),
    (binary(command=0x20), None),  # LOCAL: the proxy's own connection
    (binary(command=0x20, family=0, addresses=b""), None),
    (binary(family=0, addresses=b""), None),  # UNSPEC
    (binary(family=0x31, addresses=b"/run/x" + bytes(210)), None),  # a Unix socket
]


@pytest.mark.parametrize(("header", "expected"), VALID)
@pytest.mark.parametrize("following", [REQUEST, b"\x16\x03\x01\x02\x00", b"\r\n", b""])
async def test_the_header_is_taken_and_not_a_byte_more(
    pair: Pair, header: bytes, expected: str | None, following: bytes
) -> None:
    theirs, ours = pair
    theirs.sendall(header + following)
    assert await read_header(ours) == (ip_address(expected) if expected else None)
    theirs.close()
    rest = b"".join(iter(lambda: ours.recv(4096), b""))
    assert rest == following


@pytest.mark.parametrize(("header", "expected"), VALID)
async def test_a_header_that_comes_byte_by_byte_is_read(
    pair: Pair, header: bytes, expected: str | None
) -> None:
    theirs, ours = pair
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send() -> None:
        for byte in header[:150]:
            theirs.send(bytes([byte]))
            await asyncio.sleep(0)
        theirs.sendall(header[150:] + REQUEST)

    address, _ = await asyncio.gather(read_header(ours), send())
    assert address == (ip_address(expected) if expected else None)
    assert ours.recv(100) == REQUEST


@pytest.mark.parametrize(
    "sent",
    [
        REQUEST,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00",
        b"PROXY\r\n" + REQUEST,
        b"PROXY \r\n" + REQUEST,
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 1\r\n",
        b"PROXY TCP4 192.0.2.777 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 example.com 198.51.100.1 4711 443\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n" + b"x" * 100,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY " + b"x" * 10_000,
        SIGNATURE[:-1] + b"X" + binary()[12:],
        binary(command=0x31),
        binary(command=0x11),
        binary(command=0x22),
        binary(addresses=ipv4()[:3]),
        binary(family=0x21, addresses=ipv4()),
        binary(length=2049),
        binary(length=65535),
    ],
)
async def test_what_is_no_header_is_refused(pair: Pair, sent: bytes) -> None:
    theirs, ours = pair
    theirs.sendall(sent)
    with pytest.raises(InvalidProxyHeaderError):
        await read_header(ours)


@pytest.mark.parametrize("header", [VALID[0][0], binary()])
async def test_a_header_that_breaks_off_is_refused(header: bytes) -> None:
    for length in range(1, len(header)):
        with connected() as (theirs, ours):
            theirs.sendall(header[:length])
            theirs.close()
            with pytest.raises(InvalidProxyHeaderError, match="ended within"):
                await read_header(ours)


async def test_a_connection_without_a_byte_is_no_offence(pair: Pair) -> None:
    theirs, ours = pair
    theirs.close()
    with pytest.raises(ConnectionResetError):
        await read_header(ours)


@pytest.mark.parametrize("sent", [b"", b"PRO", b"PROXY TCP4 192", SIGNATURE, binary()[:-1]])
async def test_a_header_that_does_not_come_can_be_given_up(pair: Pair, sent: bytes) -> None:
    theirs, ours = pair
    theirs.sendall(sent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await read_header(ours)
    ours.close()  # which the loop must have forgotten
    await asyncio.sleep(0)
