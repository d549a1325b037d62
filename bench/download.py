"""Cheap downloads of blobs: Linux discards received bytes without copying them (tcp(7), MSG_TRUNC)."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
from time import perf_counter
from typing import TYPE_CHECKING

from bench.certificate import HOSTNAME
from bench.content import MANIFEST_TYPE, Content
from bench.processes import BenchError

if TYPE_CHECKING:
    import ssl

_TIMEOUT_SECONDS = 120.0
_PIECE = 1 << 20  # bytes


def connect(port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Return a connection to the server at `port`, with TLS if `tls` is set."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(connection, server_hostname=HOSTNAME) if tls else connection


def fetch(port: int, path: str, expected: Content, tls: ssl.SSLContext | None = None) -> None:
    """Get `path`. Raise BenchError if its content differs from `expected`."""
    digest = hashlib.sha256()
    connection = http.client.HTTPConnection(HOSTNAME, port, timeout=_TIMEOUT_SECONDS)
    connection.sock = connect(port, tls)
    try:
        connection.request("GET", path, headers={"Accept": MANIFEST_TYPE})
        with connection.getresponse() as response:
            while piece := response.read(_PIECE):
                digest.update(piece)
            if response.status != 200 or f"sha256:{digest.hexdigest()}" != expected.digest:
                raise BenchError(f"GET {path}: status {response.status}, content sha256:{digest.hexdigest()}")
    finally:
        connection.close()


def counts(port: int) -> dict[str, int]:
    """Return the number of requests to the upstream at `port` for each "METHOD path"."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/counts")
        result: dict[str, int] = json.loads(connection.getresponse().read())
        return result
    finally:
        connection.close()


def download(port: int, path: str, size: int, times: int = 1, tls: ssl.SSLContext | None = None) -> float:
    """Get `path`, of `size` bytes, over one connection, `times` in a row. Return the total time in seconds.

    Raise BenchError if a response is not 200 with `size` bytes.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    # Without TLS the kernel uses only the buffer's length, and writes nothing into it.
    buffer, flags = bytearray(_PIECE), 0 if tls else socket.MSG_TRUNC
    begin = perf_counter()
    with connect(port, tls) as connection:
        for _ in range(times):
            connection.sendall(request)
            left = size - _body_received_with_head(connection, path)
            while left > 0:
                received = connection.recv_into(buffer, min(left, _PIECE), flags)
                if not received:
                    raise BenchError(f"GET {path}: the body ended {left} bytes early")
                left -= received
    return perf_counter() - begin


def download_together(port: int, path: str, size: int, clients: int) -> list[float]:
    """Get `path` with `clients` clients at the same time. Return the time of each in seconds, sorted."""
    seconds: list[float] = []
    errors: list[Exception] = []

    def client() -> None:
        try:
            seconds.append(download(port, path, size))
        except (OSError, BenchError) as error:
            errors.append(error)

    # Daemon threads, so that Ctrl-C does not wait for them.
    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise BenchError(f"{len(errors)} of {clients} clients failed, the first with: {errors[0]}")
    return sorted(seconds)


def _body_received_with_head(connection: socket.socket, path: str) -> int:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(4096)
        if not piece:
            raise BenchError(f"GET {path}: closed without a response")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"GET {path}: {received[:500]!r}")
    return len(body)
