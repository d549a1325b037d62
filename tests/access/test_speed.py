"""What a kept connection costs a client that logs in: no waiting for acknowledgements, and no bcrypt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.access.conftest import IMAGE
from tests.access.program import Program, basic, htpasswd

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

SMALLEST = min(IMAGE.blobs, key=lambda blob: len(blob.raw))
THINGS = [("manifests/latest", IMAGE.raw), (f"blobs/{SMALLEST.digest}", SMALLEST.raw)]


@pytest.fixture
def connection(registries: str, tmp_path: Path) -> Iterator[socket.socket]:
    htpasswd(tmp_path / "users", ann="secret")
    toml = f'{registries}[access]\nhtpasswd = "users"\n[cache]\ntag_ttl = "1h"\n'
    with Program(tmp_path, toml, workers=1) as program, program.connect() as connection:
        yield connection


def seconds(connection: socket.socket, request: bytes, ends: bytes, count: int) -> float:
    """From sending requests at once to the end of the last answer, each of which `ends` in the same bytes."""
    begin = time.perf_counter()
    connection.sendall(request * count)
    received = b""
    while received.count(ends) < count:
        received += connection.recv(1 << 20)
    assert received.count(b"HTTP/1.1 200") == count
    return time.perf_counter() - begin


@pytest.mark.parametrize(("thing", "content"), THINGS, ids=["manifest", "small blob"])
@pytest.mark.parametrize("count", [1, 5])
def test_small_answers_go_out_at_once(
    connection: socket.socket, thing: str, content: bytes, count: int
) -> None:
    """Nagle's algorithm and delayed acknowledgements would make it 40 ms each; bcrypt some ms."""
    login = f"Authorization: {basic('ann', 'secret')}"
    request = f"GET /v2/hello/{thing} HTTP/1.1\r\nHost: hub.example.com\r\n{login}\r\n\r\n".encode()
    times = [seconds(connection, request, content, count) for _ in range(30)]
    assert min(times[10:]) < 0.02
