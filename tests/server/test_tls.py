"""Bodies over TLS, which go another way than without."""

from __future__ import annotations

import asyncio
import errno
import resource
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.waiting import until
from tests.server.harness import serving
from tests.storage.disks import broken

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from tests.server.harness import Edge

LARGE = images.Content.of("application/octet-stream", images.incompressible(24 << 20))
BLOB = f"/v2/{REPOSITORY}/blobs/{LARGE.digest}"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return authority.client_context()


@pytest.fixture
async def edge(site: Site, authority: Authority) -> AsyncIterator[Edge]:
    site.simulated.contents.repository(REPOSITORY).blobs[LARGE.digest] = LARGE
    tls = authority.server_context("127.0.0.1")
    async with site.worker() as worker, serving(site, worker, tls=tls) as edge:
        yield edge


@pytest.mark.parametrize("state", ["cold", "warm"])
async def test_a_blob_and_a_range_of_it(edge: Edge, trust: ssl.SSLContext, state: str) -> None:
    if state == "warm":
        await edge.worker.store_blob(LARGE.digest)
    async with await edge.connect(trust) as wire:
        wire.ask(BLOB)
        assert (await wire.answer()).body == LARGE.raw
        wire.ask(BLOB, Range="bytes=5000000-15000000")
        assert (await wire.answer()).body == LARGE.raw[5_000_000:15_000_001]
        wire.ask("/v2/")
        assert (await wire.answer()).status == 200


async def test_a_client_that_does_not_read_costs_no_memory(edge: Edge, trust: ssl.SSLContext) -> None:
    await edge.worker.store_blob(LARGE.digest)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wires = [await edge.connect(trust) for _ in range(5)]
    for wire in wires:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wire.ask(BLOB)
    await asyncio.sleep(0.3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024  # of 120 MiB
    for wire in wires:
        wire.writer.transport.abort()
    await until(lambda: not edge.server._connections)


async def test_a_client_that_leaves_in_the_middle(edge: Edge, trust: ssl.SSLContext) -> None:
    for polite in (True, False):
        wire = await edge.connect(trust)
        wire.ask(BLOB)
        await wire.head()
        if polite:
            wire.writer.close()
        else:
            wire.writer.transport.abort()
    await until(lambda: not edge.server._connections)
    await edge.worker.settled(LARGE.digest)
    assert edge.worker.is_stored(LARGE.digest)


async def test_a_disk_that_can_not_be_read_fails_one_answer(edge: Edge, trust: ssl.SSLContext) -> None:
    await edge.worker.store_blob(LARGE.digest)
    async with await edge.connect(trust) as wire:
        with broken("pread", errno.EIO):
            wire.ask(BLOB)
            assert (await wire.head()).status == 200
            assert await wire.rest() == b""
    async with await edge.connect(trust) as wire:
        wire.ask(BLOB)
        answer = await wire.answer()
        assert answer.body == LARGE.raw
        assert "fwd=uri-miss" in answer.headers["cache-status"]


async def test_draining(edge: Edge, trust: ssl.SSLContext) -> None:
    async with await edge.connect(trust) as idle, await edge.connect(trust) as busy:
        idle.ask("/v2/")
        await idle.answer()
        async with edge.site.simulated.gate("blob", after=1000) as gate:
            busy.ask(BLOB)
            await gate.reached.wait()
            draining = asyncio.create_task(edge.server.drain(10))
            assert await idle.rest() == b""
            gate.release()
            assert (await busy.answer()).body == LARGE.raw
        busy.writer.close()
        await draining
