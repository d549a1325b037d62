"""Accepting connections: up to a limit, and without descriptors."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit.waiting import until
from tests.server.harness import Edge, serving

from registry_proxy.server.connection import Limits
from registry_proxy.server.read_floor import FOR_MEMORY, ReadFloor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.kit import images

MOST = 16
MANIFEST = f"/v2/{REPOSITORY}/manifests/latest"


@pytest.fixture
async def narrow(site: Site, image: images.Image) -> AsyncIterator[Edge]:
    """A server that accepts at most 16 connections."""
    site.simulated.push(REPOSITORY, image, "latest")
    limits = Limits(header_timeout=10.0, idle_timeout=75.0, connections=MOST)
    async with site.worker() as worker, serving(site, worker, limits=limits) as edge:
        yield edge


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    fillers: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with suppress(OSError):  # that no more can be opened
            fillers.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(highest + 2))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)


async def test_an_idle_connection_makes_room_for_a_new_one(
    narrow: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    idle = [await narrow.connect() for _ in range(MOST)]
    for wire in idle:
        wire.ask("/v2/")
        await wire.answer()
    for _ in range(3):
        assert (await narrow.get("/v2/")).status == 200
    assert len(narrow.server._connections) <= MOST
    dropped = await asyncio.wait_for(idle[0].rest(), 10)
    assert dropped == b""
    assert "the most this worker accepts" in caplog.text
    for wire in idle:
        wire.writer.transport.abort()


async def test_no_response_in_progress_is_dropped_for_a_new_connection(
    narrow: Edge, image: images.Image
) -> None:
    async with narrow.site.simulated.gate("manifest") as gate:
        busy = [await narrow.connect() for _ in range(MOST)]
        for wire in busy:
            wire.ask(MANIFEST)
        await gate.reached.wait()
        await until(lambda: len(narrow.server._connections) == MOST)
        late = await narrow.connect()
        late.ask("/v2/", connection="close")
        gate.release()
        for wire in busy:
            assert (await wire.answer()).body == image.raw
        assert (await late.answer()).status == 200
    for wire in (*busy, late):
        wire.writer.transport.abort()


async def test_without_descriptors_there_is_one_log_line_a_second(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [socket.socket() for _ in range(40)]
    with caplog.at_level(logging.ERROR), no_descriptors():
        for client in clients:
            client.connect(("127.0.0.1", edge.port))
        await until(lambda: "not accepted" in caplog.text)
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        seconds = asyncio.get_running_loop().time() - begun
    lines = [line for line in caplog.messages if "not accepted" in line]
    assert len(lines) <= 2 + seconds
    assert "LimitNOFILE" in lines[0]
    for client in clients:
        client.close()
    assert (await edge.get("/v2/")).status == 200


def test_the_wait_ends_with_a_client_that_accepts_too_little() -> None:
    floor = ReadFloor(FOR_MEMORY)
    for _ in range(6):
        floor.waited(5.0)
        floor.accepted(1000)
    assert floor.left <= 0
    floor.accepted(1 << 20)
    assert floor.left == FOR_MEMORY


async def test_a_client_below_the_floor_is_dropped(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_proxy.server.connection.FOR_FILES", 0.5)
    layer = max(
        edge.site.simulated.contents.repositories[REPOSITORY].blobs.values(), key=lambda each: each.size
    )
    sock = edge.socket(4096)
    requests = f"GET /v2/{REPOSITORY}/blobs/{layer.digest} HTTP/1.1\r\nHost: a\r\n\r\n" * 40
    sock.sendall(requests.encode())
    await until(lambda: bool(edge.server._connections))
    await until(lambda: not edge.server._connections)
    sock.close()
