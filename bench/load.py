"""The load generator for small requests: keep-alive connections that each send the next request at once.

wrk cannot be used, because it waits for a body after HEAD. One core of this generator saturates one core of nginx.
"""

from __future__ import annotations

import select
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from bench.content import MANIFEST_TYPE
from bench.download import connect
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_SECONDS = 30.0
_OK = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load: its duration, and the latency of each response, sorted. Both are in seconds."""

    seconds: float
    latencies: list[float]

    @property
    def requests(self) -> int:
        return len(self.latencies)

    def percentile(self, percent: int) -> float:
        """Return the latency that `percent` of the responses did not exceed."""
        return self.latencies[(self.requests - 1) * percent // 100]


@dataclass(slots=True)
class _Client:
    """One connection. `partial` is the received part of a response that arrives in several pieces."""

    receive: Callable[[bytearray], int]
    send: Callable[[bytes], int]
    started: float = 0.0
    partial: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Target:
    """The request of a load, its server's port and TLS context, and the `size` of the response body in bytes."""

    port: int
    method: str
    path: str
    size: int
    tls: ssl.SSLContext | None = None


def run_load(target: Target, *, connections: int, seconds: float) -> Load:
    """Send requests for the target on all connections for `seconds`.

    Raise BenchError if a response is missing, or is not 200 with a body of the expected size.
    """
    host = f"Host: 127.0.0.1:{target.port}"
    request = f"{target.method} {target.path} HTTP/1.1\r\n{host}\r\nAccept: {MANIFEST_TYPE}\r\n\r\n".encode()
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        clients: dict[int, _Client] = {}
        for _ in range(connections):
            connection = stack.enter_context(connect(target.port, target.tls))
            connection.setblocking(False)
            poll.register(connection.fileno(), select.EPOLLIN)
            clients[connection.fileno()] = _Client(connection.recv_into, connection.send)
        return _exchange(poll, clients, request, 0 if target.method == "HEAD" else target.size, seconds)


def _exchange(
    poll: select.epoll, clients: dict[int, _Client], request: bytes, body: int, seconds: float
) -> Load:
    latencies: list[float] = []
    buffer = bytearray(256 << 10)
    begin = now = perf_counter()
    for client in clients.values():
        client.started = perf_counter()
        client.send(request)
    while now - begin < seconds:
        events = poll.poll(_TIMEOUT_SECONDS)
        if not events:
            raise BenchError(f"no response within {_TIMEOUT_SECONDS:.0f} s to {request.decode()!r}")
        for descriptor, _ in events:
            client = clients[descriptor]
            try:
                length = client.receive(buffer)
            except ssl.SSLWantReadError:  # a session ticket, for example: no part of a response
                continue
            # Nearly every response arrives in one piece: check it in the buffer.
            if client.partial or not _is_one_response(buffer, length, body):
                client.partial += buffer[:length]
                if not _is_complete(client.partial, body, ended=not length):
                    continue
                client.partial.clear()
            now = perf_counter()
            latencies.append(now - client.started)
            client.started = now
            client.send(request)
    latencies.sort()
    return Load(now - begin, latencies)


def _is_one_response(received: bytearray, length: int, body: int) -> bool:
    return received.find(b"\r\n\r\n", 0, length) + 4 + body == length and received.startswith(_OK)


def _is_complete(received: bytearray, body: int, *, ended: bool) -> bool:
    head = received.find(b"\r\n\r\n")
    missing = head + 4 + body - len(received)
    if ended or (head >= 0 and (missing < 0 or not received.startswith(_OK))):
        raise BenchError(f"expected 200 with a body of {body} bytes, got {bytes(received[:500])!r}")
    return head >= 0 and missing == 0
