"""The load generator for small requests: keep-alive connections that each send the next request at once.

Of our own because wrk waits for a body after HEAD. One core of it saturates one core of nginx.
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
    """What a load saw: answers in `seconds`, and each answer's latency in seconds, sorted."""

    seconds: float
    latencies: list[float]

    @property
    def requests(self) -> int:
        return len(self.latencies)

    def percentile(self, percent: int) -> float:
        """The latency that `percent` of the answers did not exceed."""
        return self.latencies[(self.requests - 1) * percent // 100]


@dataclass(slots=True)
class _Client:
    """One connection; `partial` is what has arrived of an answer that came in several pieces."""

    receive: Callable[[bytearray], int]
    send: Callable[[bytes], int]
    started: float = 0.0
    partial: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: `method` and `path`, whose body has `size` bytes, at `port`, in TLS if there is a context."""

    port: int
    method: str
    path: str
    size: int
    tls: ssl.SSLContext | None = None


def run_load(target: Target, *, connections: int, seconds: float) -> Load:
    """Ask for the target on all connections for `seconds`.

    Raises BenchError when an answer isn't 200 with just that body, or none comes.
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
            raise BenchError(f"no answer within {_TIMEOUT_SECONDS:.0f} s to {request.decode()!r}")
        for descriptor, _ in events:
            client = clients[descriptor]
            try:
                length = client.receive(buffer)
            except ssl.SSLWantReadError:  # a session ticket, say: nothing of an answer
                continue
            # Nearly every answer comes in one piece: look at it where it lies.
            if client.partial or not _is_whole(buffer, length, body):
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


def _is_whole(answer: bytearray, length: int, body: int) -> bool:
    return answer.find(b"\r\n\r\n", 0, length) + 4 + body == length and answer.startswith(_OK)


def _is_complete(answer: bytearray, body: int, *, ended: bool) -> bool:
    head = answer.find(b"\r\n\r\n")
    missing = head + 4 + body - len(answer)
    if ended or (head >= 0 and (missing < 0 or not answer.startswith(_OK))):
        raise BenchError(f"expected 200 with a body of {body} bytes, got {bytes(answer[:500])!r}")
    return head >= 0 and missing == 0
