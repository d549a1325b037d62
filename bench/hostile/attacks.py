"""The attacks. Each returns its open connections, which the caller closes."""

from __future__ import annotations

import hashlib
import socket
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.certificate import HOSTNAME

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

READERS = 800
_PIPELINED = 16
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """The ports of the server, a client's TLS context, and the paths of the large blob and the large manifest."""

    port: int
    tls_port: int
    tls: ssl.SSLContext
    blob: str
    manifest: str


def aborted_blobs(target: Target) -> list[socket.socket]:
    """Request 400 large blobs, and close the connections at once."""
    for number in range(400):
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        with _connect(target.port) as connection:
            connection.sendall(_request(f"/v2/flooded.test/image/blobs/sha256:{digest}"))
        time.sleep(0.005)
    return []


def unknown_names(target: Target) -> list[socket.socket]:
    """Request the manifests of 3,000 unknown names at once, and read the responses."""
    connections = []
    for number in range(3000):
        connection = _connect(target.port)
        connection.sendall(_request(f"/v2/flooded.test/unknown-{number}/manifests/latest"))
        connections.append(connection)
    statuses = Counter(connection.recv(64 << 10)[9:12].decode() for connection in connections)
    print("   statuses:", dict(statuses))
    return connections


def tls_readers(target: Target) -> list[socket.socket]:
    """Request a large blob on 800 connections with TLS, and read nothing."""
    return [_send_tls(target, _request(target.blob)) for _ in range(READERS)]


def manifest_readers(target: Target) -> list[socket.socket]:
    """Request a manifest of 4 MiB on 800 connections, and read nothing."""
    return [_send(target, _request(target.manifest)) for _ in range(READERS)]


def pipelining_readers(target: Target) -> list[socket.socket]:
    """Request a manifest of 4 MiB many times on each of 800 connections, and read nothing."""
    return [_send(target, _request(target.manifest) * _PIPELINED) for _ in range(READERS)]


def pipelining_tls_readers(target: Target) -> list[socket.socket]:
    """Request a manifest of 4 MiB many times on each of 800 connections with TLS, and read nothing."""
    return [_send_tls(target, _request(target.manifest) * _PIPELINED) for _ in range(READERS)]


def tiny_requests(target: Target) -> list[socket.socket]:
    """Send 64 KiB of tiny requests behind a request for a large blob on 800 connections, and read nothing."""
    tiny = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
    data = _request(target.blob) + tiny * ((64 << 10) // len(tiny))
    return [_send(target, data) for _ in range(READERS)]


ATTACKS: dict[str, Callable[[Target], list[socket.socket]]] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        aborted_blobs,
        unknown_names,
        tls_readers,
        manifest_readers,
        pipelining_readers,
        pipelining_tls_readers,
        tiny_requests,
    )
}


def addresses() -> Iterator[str]:
    """Yield source addresses, so that one test does not use up the ports of one address."""
    while True:
        yield from (f"127.0.1.{number}" for number in range(1, 5))


_ADDRESSES = addresses()


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: attack\r\n\r\n".encode()


def _connect(port: int, receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(_TIMEOUT)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.bind((next(_ADDRESSES), 0))
    connection.connect(("127.0.0.1", port))
    return connection


def _send(target: Target, data: bytes) -> socket.socket:
    connection = _connect(target.port, 4096)
    connection.setblocking(False)
    connection.send(data)
    return connection


def _send_tls(target: Target, data: bytes) -> socket.socket:
    connection = target.tls.wrap_socket(_connect(target.tls_port, 4096), server_hostname=HOSTNAME)
    connection.sendall(data)
    return connection
