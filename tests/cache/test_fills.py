"""Cold blobs: one transfer, read by all while it runs."""

from __future__ import annotations

import asyncio

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site, read, together
from tests.kit import images

from registry_proxy.cache.results import Outcome

SIZE = 3_000_000
IMAGE = images.image(layers=2, layer_size=SIZE)
BLOB = IMAGE.layers[0]


@pytest.fixture(autouse=True)
def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")


class TestOneTransfer:
    async def test_many_readers_cause_one_transfer_and_all_get_every_byte(self, site: Site) -> None:
        async with site.worker() as worker:
            bodies = await together(*(worker.pull(BLOB.digest) for _ in range(20)))
            assert all(body == BLOB.raw for body in bodies)
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_the_first_byte_goes_out_while_it_fills(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1000) as gate:
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(1000)
            assert reading.outcome is Outcome.MISS
            late = Reading(await worker.blob(BLOB.digest))
            await late.until(1000)
            assert late.outcome is Outcome.COLLAPSED
            gate.release()
            assert await reading.whole() == BLOB.raw
            assert await late.whole() == BLOB.raw
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_a_small_piece_is_not_kept_back_until_the_next_one_comes(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1_500_001) as gate:
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(1_500_001)
            gate.release()
            await reading.whole()

    async def test_all_readers_leave_and_the_fill_is_completed(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1000) as gate:
            readings = [Reading(await worker.blob(BLOB.digest)) for _ in range(3)]
            for reading in readings:
                await reading.until(1000)
                await reading.leave()
            gate.release()
            await worker.settled(BLOB.digest)
            assert await worker.outcome(BLOB.digest) is Outcome.HIT
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_one_who_leaves_before_the_answer_harms_no_other(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob") as gate:
            early = asyncio.create_task(worker.blob(BLOB.digest))
            await gate.reached.wait()
            early.cancel()
            await asyncio.wait([early])
            other = asyncio.create_task(worker.pull(BLOB.digest))
            gate.release()
            assert await other == BLOB.raw
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_a_warm_blob_is_served_without_any_request(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.pull(BLOB.digest)
            await worker.settled(BLOB.digest)
            asked = len(site.simulated.requests)
            served = await worker.blob(BLOB.digest)
            assert served.outcome is Outcome.HIT
            assert await read(served.body) == BLOB.raw
            assert len(site.simulated.requests) == asked


class TestRanges:
    @pytest.mark.parametrize(
        ("start", "stop"),
        [(0, 10), (5, 900), (999, 1001), (2_000_000, 2_000_001), (BLOB.size - 5, BLOB.size), (0, BLOB.size)],
    )
    async def test_ranges_on_a_running_fill(self, site: Site, start: int, stop: int) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1000) as gate:
            reading = Reading(await worker.blob(BLOB.digest), start, stop)
            await gate.reached.wait()
            gate.release()
            assert await reading.whole() == BLOB.raw[start:stop]

    async def test_a_range_that_is_there_is_answered_before_the_fill_goes_on(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1000):
            reading = Reading(await worker.blob(BLOB.digest), 10, 900)
            assert await reading.whole() == BLOB.raw[10:900]

    async def test_parallel_ranges_cause_one_transfer(self, site: Site) -> None:
        bounds = [(at, min(at + 500_000, BLOB.size)) for at in range(0, BLOB.size, 500_000)]
        async with site.worker() as worker:
            readings = [Reading(await worker.blob(BLOB.digest), *bound) for bound in bounds]
            parts = [await reading.whole() for reading in readings]
        assert b"".join(parts) == BLOB.raw
        assert site.simulated.transfers(BLOB.digest) == 1
