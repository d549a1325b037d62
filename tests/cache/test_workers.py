"""Several processes on one store: one fill for all of them, whoever drives it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Reading, Site, Worker
from tests.kit import images
from tests.kit.faults import Answer, Corrupt, Hang, Tamper
from tests.kit.processes import ROOT
from tests.kit.waiting import until
from tests.storage.disks import broken

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SIZE = 3_000_000
IMAGE = images.image(layers=1, layer_size=SIZE)
BLOB = IMAGE.layers[0]


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")


def ranges(site: Site) -> list[str | None]:
    found = site.simulated.journal.select("GET", "blob", BLOB.digest)
    return [request.headers.get("Range") for request in found]


@asynccontextmanager
async def two_workers(site: Site) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two processes; the upstream holds every transfer at a third of the blob."""
    async with site.worker() as owner, site.worker() as follower:
        await owner.manifest("latest")
        yield owner, follower


class TestFollowing:
    async def test_all_workers_readers_share_one_transfer(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=1_000_000) as gate:
                readings = [Reading(await worker.blob(BLOB.digest)) for worker in [owner, follower] * 3]
                for reading in readings:
                    await reading.until(1_000_000)
                gate.release()
                assert [await reading.whole() for reading in readings] == [BLOB.raw] * 6
            for worker in (owner, follower):
                await worker.settled(BLOB.digest)
                assert await worker.outcome(BLOB.digest) is Outcome.HIT
            assert not owner.index.reserved()
        assert ranges(site) == [None]

    async def test_a_follower_learns_the_size_from_the_owner(self, site: Site) -> None:
        async with (
            site.worker() as owner,
            site.worker() as follower,
            site.simulated.gate("blob", after=1_000_000) as gate,
        ):
            first = Reading(await owner.blob(BLOB.digest))
            await first.until(1_000_000)
            second = Reading(await follower.blob(BLOB.digest))
            await second.until(1_000_000)
            gate.release()
            assert await first.whole() == await second.whole() == BLOB.raw
        assert ranges(site) == [None]

    async def test_a_blob_of_unknown_size_is_followed(self, site: Site) -> None:
        site.simulated.arm("blob", Tamper(remove=("Content-Length",)))
        async with (
            site.worker() as owner,
            site.worker() as follower,
            site.simulated.gate("blob", after=1_000_000) as gate,
        ):
            first = asyncio.create_task(owner.pull(BLOB.digest))
            await until(lambda: owner.is_reading(BLOB.digest))
            second = asyncio.create_task(follower.pull(BLOB.digest))
            await until(lambda: follower.is_reading(BLOB.digest))
            gate.release()
            assert await first == await second == BLOB.raw
        assert ranges(site) == [None]

    async def test_ranges_are_followed(self, site: Site) -> None:
        async with (
            two_workers(site) as (owner, follower),
            site.simulated.gate("blob", after=1_000_000) as gate,
        ):
            await Reading(await owner.blob(BLOB.digest)).until(1_000_000)
            part = Reading(await follower.blob(BLOB.digest), 500_000, 900_000)
            assert await part.whole() == BLOB.raw[500_000:900_000]
            tail = Reading(await follower.blob(BLOB.digest), BLOB.size - 10)
            gate.release()
            assert await tail.whole() == BLOB.raw[-10:]

    async def test_a_corrupt_blob_completes_for_no_worker(self, site: Site) -> None:
        site.simulated.arm("blob", Corrupt(7), times=None)
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=1_000_000) as gate:
                readings = [Reading(await worker.blob(BLOB.digest)) for worker in (owner, follower)]
                for reading in readings:
                    await reading.until(1_000_000)
                gate.release()
                for reading in readings:
                    with pytest.raises(RegistryError):
                        await reading.whole()
                    assert len(reading.received) < BLOB.size
            site.simulated.faults.clear()
            assert await follower.pull(BLOB.digest) == BLOB.raw

    async def test_a_fill_that_the_upstream_refuses_one_worker_is_tried_by_the_other(
        self, site: Site
    ) -> None:
        async with site.worker() as owner, site.worker() as follower:
            held = site.simulated.arm("blob", Hang(), Answer(status=404, code="BLOB_UNKNOWN"))
            first = asyncio.create_task(owner.blob(BLOB.digest))
            await held.reached.wait()
            second = asyncio.create_task(follower.pull(BLOB.digest))
            await until(lambda: follower.is_reading(BLOB.digest))
            held.release()
            with pytest.raises(RegistryError) as caught:
                await first
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
            assert await second == BLOB.raw

    async def test_followers_get_every_byte_when_the_owner_can_not_store(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=1_000_000) as gate:
                readings = [Reading(await worker.blob(BLOB.digest)) for worker in (owner, follower)]
                for reading in readings:
                    await reading.until(1_000_000)
                with broken("pwritev"):
                    gate.release()
                    assert [await reading.whole() for reading in readings] == [BLOB.raw] * 2
            for worker in (owner, follower):
                await worker.settled(BLOB.digest)
                assert not worker.is_stored(BLOB.digest)
            assert not owner.index.reserved()


class TestTakingOver:
    @pytest.mark.parametrize("at", [1000, 1_000_000, BLOB.size - 1])
    async def test_the_other_worker_completes_what_an_ended_one_began(self, site: Site, at: int) -> None:
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=at):
                cut = Reading(await owner.blob(BLOB.digest))
                reading = Reading(await follower.blob(BLOB.digest))
                await reading.until(min(at, BLOB.size - 1))
                await owner.kill()
                with pytest.raises(ConnectionError):
                    await cut.whole()
            assert await reading.whole() == BLOB.raw
            await follower.settled(BLOB.digest)
            assert follower.is_stored(BLOB.digest)
            assert not follower.index.reserved()
        assert ranges(site) == [None, f"bytes={at}-"]

    async def test_an_owner_that_ends_before_the_upstream_answers(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            held = site.simulated.arm("blob", Hang())
            cut = asyncio.create_task(owner.blob(BLOB.digest))
            await held.reached.wait()
            pull = asyncio.create_task(follower.pull(BLOB.digest))
            await until(lambda: follower.is_reading(BLOB.digest))
            await owner.kill()
            with pytest.raises(ConnectionError):
                await cut
            assert await pull == BLOB.raw

    async def test_an_owner_that_gives_up_is_followed_by_an_own_try(self, site: Site) -> None:
        site.upstream = site.client(site.simulated, timeouts=HASTY)
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=1_000_000) as gate:
                first = Reading(await owner.blob(BLOB.digest))
                second = Reading(await follower.blob(BLOB.digest))
                await second.until(1_000_000)
                refused = site.simulated.arm("blob", Answer(status=403, code="DENIED"))
                with pytest.raises(RegistryError):
                    await first.whole()
                assert refused.hits == 1
                gate.release()
                assert await second.whole() == BLOB.raw
            assert ranges(site)[-1] == "bytes=1000000-"

    @pytest.mark.parametrize("at", [1000, 1_000_000])
    async def test_a_process_that_is_killed(self, site: Site, at: int) -> None:
        async with site.worker() as follower:
            await follower.manifest("latest")
            async with site.simulated.gate("blob", after=at) as gate:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "tests.cache.other_process"),
                    *(str(site.root), site.simulated.url, REPOSITORY, BLOB.digest),
                    cwd=ROOT,
                    env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
                    stdout=asyncio.subprocess.PIPE,
                )
                assert process.stdout is not None
                while int(await process.stdout.readline()) < at:
                    pass
                reading = Reading(await follower.blob(BLOB.digest))
                assert reading.outcome is Outcome.MISS
                await reading.until(at)
                process.kill()
                await process.wait()
                await gate.reached.wait()
                gate.release()
                assert await reading.whole() == BLOB.raw
            await follower.settled(BLOB.digest)
            assert follower.is_stored(BLOB.digest)
        assert ranges(site) == [None, f"bytes={at}-"]


class TestLeftovers:
    async def leave(self, site: Site, content: bytes) -> None:
        """A transfer that ended in the middle has left something."""
        async with site.worker() as worker, site.simulated.gate("blob", after=1000):
            await worker.manifest("latest")
            await Reading(await worker.blob(BLOB.digest)).until(1000)
            await worker.kill()
        [leftover] = site.files("ingest")
        leftover.write_bytes(content)

    async def test_a_follower_reads_nothing_of_a_leftover_that_is_thrown_away(self, site: Site) -> None:
        await self.leave(site, b"x" * (BLOB.size + 1))
        async with (
            site.worker() as owner,
            site.worker() as follower,
            site.simulated.gate("blob", after=1000) as gate,
        ):
            # The follower opens the leftover in the very moment before the owner begins anew.
            first = asyncio.create_task(owner.pull(BLOB.digest))
            second = asyncio.create_task(follower.pull(BLOB.digest))
            await gate.reached.wait()
            gate.release()
            assert await first == await second == BLOB.raw
        assert site.simulated.transfers(BLOB.digest) == 2

    async def test_both_workers_resume_one_leftover_once(self, site: Site) -> None:
        await self.leave(site, BLOB.raw[:2_000_000])
        async with site.worker() as owner, site.worker() as follower:
            pulls = [asyncio.create_task(worker.pull(BLOB.digest)) for worker in (owner, follower)]
            assert await asyncio.gather(*pulls) == [BLOB.raw] * 2
        assert ranges(site) == [None, "bytes=2000000-"]


class TestEviction:
    async def test_what_one_worker_evicts_the_other_misses(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            await owner.store_blob(BLOB.digest)
            assert await follower.outcome(BLOB.digest) is Outcome.HIT
            await owner.cache.evictor.free(BLOB.size)
            assert not follower.is_stored(BLOB.digest)
            assert await follower.pull(BLOB.digest) == BLOB.raw

    async def test_a_reader_keeps_what_is_evicted_meanwhile(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            await owner.store_blob(BLOB.digest)
            served = await follower.blob(BLOB.digest)
            await owner.cache.evictor.free(BLOB.size)
            assert await Reading(served).whole() == BLOB.raw

    async def test_no_fill_is_evicted_by_the_other_worker(self, site: Site) -> None:
        async with two_workers(site) as (owner, follower):
            async with site.simulated.gate("blob", after=1_000_000) as gate:
                reading = Reading(await owner.blob(BLOB.digest))
                await reading.until(1_000_000)
                site.now.advance(60)
                await follower.cache.evictor.free(10)
                await follower.cache.evictor.clean_up()
                gate.release()
                assert await reading.whole() == BLOB.raw
            await owner.settled(BLOB.digest)
            await until(lambda: follower.is_stored(BLOB.digest))
