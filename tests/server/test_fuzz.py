"""Whatever bytes come in: no server error, no traceback, no connection that hangs."""

from __future__ import annotations

import asyncio
import re
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cache.harness import REPOSITORY, Site
from tests.kit.pauses import measured_pauses
from tests.server.conftest import IMAGE
from tests.server.harness import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


async def _serve(root: Path, ready: Future[int], end: asyncio.Event) -> None:
    async with Site(root) as site:
        await site.simulate()
        site.simulated.push(REPOSITORY, IMAGE, "latest")
        async with site.worker() as worker, serving(site, worker) as edge, measured_pauses() as pauses:
            ready.set_result(edge.port)
            await end.wait()
    assert pauses.busy < 0.5, str(pauses)  # measured: 0.01 s


@contextmanager
def _running(root: Path) -> Iterator[int]:
    """A server in a loop of its own, since Hypothesis' examples are no coroutines."""
    ready: Future[int] = Future()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(root, ready, end))

    with ThreadPoolExecutor(1) as threads:
        served = threads.submit(run)
        try:
            yield ready.result(10)
        finally:
            loop.call_soon_threadsafe(end.set)
            served.result()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with _running(tmp_path_factory.mktemp("store")) as port:
        yield port


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and the end of them; what comes back until the server closes."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(1 << 16):
                received += piece
        except ConnectionError:
            pass  # a refusal may come before all is sent
    return bytes(received)


_NAMES = st.sampled_from(
    [
        "alpine",
        REPOSITORY,
        "a/../b",
        "registry.test/alpine",
        "..",
        "%2e%2e",
        "A",
        "a//b",
        "\xe4",
        "x" * 300,
        "a\0b",
    ]
)
_REFERENCES = st.sampled_from(
    [
        "latest",
        IMAGE.digest,
        IMAGE.layers[0].digest,
        "sha256:",
        "sha512:" + "f" * 128,
        "..",
        "",
        "a:b:c",
        "\x7f",
    ]
)
_KINDS = st.sampled_from(["manifests", "blobs", "referrers", "tags", "uploads", ""])
_QUERIES = st.sampled_from(
    ["", "?ns=registry.test", "?ns=evil", "?n=0&last=", "?n=-1", "?&&&=", "?%00", "?ns=%0d%0a"]
)
_TARGETS = st.builds(
    lambda name, kind, reference, query: f"/v2/{name}/{kind}/{reference}{query}",
    _NAMES,
    _KINDS,
    _REFERENCES,
    _QUERIES,
)
_HEADERS = st.lists(
    st.sampled_from(
        [
            "Host: a",
            "Host: [::1]:5000",
            "Host: \xff",
            "Range: bytes=0-5",
            "Range: bytes=-1",
            "Range: bytes=99999999999999999999-",
            'If-None-Match: "x"',
            "If-None-Match: *",
            "If-Range: nonsense",
            "Content-Length: 5",
            "Content-Length: x",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Connection: close",
            "Connection: upgrade\r\nUpgrade: websocket",
            "Expect: 100-continue",
            "Authorization: Basic !!!",
            "X-Forwarded-For: nonsense",
            " folded",
            "novalue",
            ": empty",
        ]
    ),
    max_size=5,
)
_METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "PRI", "get", "G\0T", ""])
_VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 ", "HTTQ/1.1", ""])


def _request(method: str, target: str, version: str, headers: list[str]) -> bytes:
    return "\r\n".join([f"{method} {target} {version}", *headers, "", ""]).encode("latin-1")


_REQUESTS = st.lists(st.builds(_request, _METHODS, _TARGETS, _VERSIONS, _HEADERS), min_size=1, max_size=4)


def _inserted(requests: list[bytes], at: float, junk: bytes) -> bytes:
    whole = b"".join(requests)
    position = int(at * len(whole))
    return whole[:position] + junk + whole[position:]


_MUTATED = st.builds(_inserted, _REQUESTS, st.floats(0, 1), st.binary(max_size=8))


@settings(max_examples=300, suppress_health_check=_CHECKS)
@given(data=st.one_of(st.binary(max_size=300), _MUTATED))
def test_no_bytes_cause_a_server_error(port: int, data: bytes) -> None:
    received = exchange(port, data)
    statuses = [int(status) for status in _STATUS.findall(received)]
    assert all(status < 500 for status in statuses), received[:500]
    assert not received or received.startswith(b"HTTP/1.1 ")
    assert b"\r\n\r\n" in received or not received


@settings(max_examples=60, suppress_health_check=_CHECKS)
@given(targets=st.lists(_TARGETS, min_size=1, max_size=5))
def test_each_answer_tells_how_it_came_about(port: int, targets: list[str]) -> None:
    data = b"".join(_request("GET", target, "HTTP/1.1", ["Host: a"]) for target in targets)
    heads = [part for part in exchange(port, data).split(b"\r\n\r\n") if b"HTTP/1.1 " in part]
    assert heads
    assert all(b"\r\nCache-Status: registry-proxy; " in head for head in heads)
