"""The probe: a client in its own process that requests one path all the time, and measures the latencies."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_PAUSE = 0.005  # seconds between two requests
_TIMEOUT = 60.0  # seconds


@dataclass(slots=True)
class Latencies:
    """The latencies of the probe in seconds, sorted, and the number of responses other than 200."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def percentile(self, percent: float) -> float:
        """Return the latency that `percent` of the responses did not exceed."""
        return self.seconds[int((len(self.seconds) - 1) * percent / 100)]


@contextmanager
def probing(port: int, path: str) -> Iterator[Latencies]:
    """Request `path` during the block. The latencies are complete after it."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_probe, args=(port, path, theirs), daemon=True)
    process.start()
    ours.recv()
    latencies = Latencies()
    try:
        yield latencies
    finally:
        ours.send("stop")
        seconds, latencies.failures = ours.recv()
        latencies.seconds[:] = sorted(seconds)
        process.join()


def _probe(port: int, path: str, pipe: Connection) -> None:
    seconds, failures = [], 0
    request = f"GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n".encode()
    connection = _connect(port)
    pipe.send("started")
    while not pipe.poll():
        begun = time.perf_counter()
        try:
            connection.sendall(request)
            response = connection.recv(64 << 10)
        except OSError:
            response = b""
        seconds.append(time.perf_counter() - begun)
        if not response.startswith(b"HTTP/1.1 200 "):
            failures += 1
            connection.close()
            connection = _connect(port)
        time.sleep(_PAUSE)
    pipe.send((seconds, failures))


def _connect(port: int) -> socket.socket:
    # From its own address, as another client.
    return socket.create_connection(("127.0.0.1", port), _TIMEOUT, source_address=("127.0.0.9", 0))
