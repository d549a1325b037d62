"""What the cache does beside answering, and what it does when its index can't be written."""

from __future__ import annotations

import asyncio

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site, Worker, read
from tests.kit import images
from tests.kit.faults import Hang, IgnoreRange, Tamper
from tests.kit.waiting import until
from tests.storage.disks import broken

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Digest, Repository

IMAGE, OTHER = images.image(layers=1, layer_size=300_000), images.image(layers=1, seed=3)
BLOB = IMAGE.layers[0]


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    site.simulated.push("library/other", OTHER, "latest")


def last_use(worker: Worker, digest: str) -> float:
    content = worker.index.content(Digest.parse(digest))
    assert content is not None
    return content.used_at


class TestHousekeeping:
    async def test_uses_are_written_now_and_then_and_at_the_end(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            site.now.advance(100)
            await worker.outcome(BLOB.digest)
            house = worker.background.spawn(worker.cache.run_maintenance(), "housekeeping")
            await until(lambda: last_use(worker, BLOB.digest) == site.now())
            site.now.advance(100)
            house.cancel()
            await worker.outcome(BLOB.digest)
            await asyncio.wait([house])
            assert last_use(worker, BLOB.digest) == site.now()

    async def test_trouble_does_not_end_it(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        async with site.worker(max_size=1) as worker:
            await worker.index.adopt([(Digest.parse(BLOB.digest), 10)], 0.0)
            with broken("scandir"):
                house = worker.background.spawn(worker.cache.run_maintenance(), "housekeeping")
                await until(lambda: "store maintenance failed" in caplog.text)
            assert not house.done()
            before = len(site.pauses)
            await until(lambda: len(site.pauses) > before + 200)  # more than an hour
            assert worker.index.used_bytes() == 0

    async def test_a_file_that_can_not_be_deleted_does_not_end_an_eviction(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            await worker.store_blob(OTHER.layers[0].digest, "library/other")
            with broken("unlink"):
                assert await worker.cache.evictor.free(BLOB.size)
            assert worker.is_stored(BLOB.digest)
            # It is counted again when it is read again.
            assert await worker.pull(BLOB.digest) == BLOB.raw
            assert worker.index.content(Digest.parse(BLOB.digest)) is not None


class TestEndOfTheService:
    async def test_what_has_not_begun_keeps_nobody_waiting(self, site: Site) -> None:
        async with site.worker() as worker:
            waiting = [
                asyncio.create_task(worker.blob(BLOB.digest)),
                asyncio.create_task(worker.manifest("latest")),
            ]
            await asyncio.sleep(0)  # each has its work spawned, of which nothing has run
            await worker.kill()
            async with asyncio.timeout(5):
                results = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(results[0], ConnectionError)
            assert isinstance(results[1], asyncio.CancelledError)
            # It is all there for the next ones.
            assert await worker.pull(BLOB.digest) == BLOB.raw
            assert (await worker.manifest("latest")).manifest.raw == IMAGE.raw


class TestIndexThatCanNotBeWritten:
    async def test_everything_is_served_all_the_same(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            await worker.index._writer.close()
            site.now.advance(site.rules.access_ttl + 1)
            assert (await worker.manifest("latest")).manifest.raw == IMAGE.raw
            assert (await worker.manifest(IMAGE.digest)).manifest.raw == IMAGE.raw
            assert await worker.pull(BLOB.digest) == BLOB.raw
            for _ in range(2):
                assert (await worker.manifest("latest", "library/other")).manifest.raw == OTHER.raw
                assert (await worker.manifest(OTHER.digest, "library/other")).manifest.raw == OTHER.raw
                for each in OTHER.blobs:
                    served = await worker.blob(each.digest, "library/other")
                    assert served.outcome is Outcome.PASS_THROUGH
                    assert await read(served.body) == each.raw
            await worker.cache._access_times.flush()
            assert "registry.test/library/other@" in caplog.text
            assert "Check the disk under the storage path." in caplog.text
            assert not site.files("ingest")

    async def test_errors_stay_what_they_are(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.index._writer.close()
            with pytest.raises(RegistryError) as caught:
                await worker.manifest("missing")
            assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest, "library/other")
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN


class TestManifestsThatCanNotBeStored:
    @pytest.mark.parametrize("call", ["pwritev", "rename", "fdatasync"])
    async def test_they_are_served_and_reserve_nothing(self, site: Site, call: str) -> None:
        async with site.worker() as worker:
            with broken(call):
                served = await worker.manifest("latest")
                assert (served.outcome, served.manifest.raw) == (Outcome.PASS_THROUGH, IMAGE.raw)
                assert (await worker.manifest(IMAGE.digest)).manifest.raw == IMAGE.raw
                for each in IMAGE.blobs:
                    assert await worker.pull(each.digest) == each.raw
                    await worker.settled(each.digest)
            assert not worker.index.reserved()
            assert (await worker.manifest("latest")).manifest.raw == IMAGE.raw
            assert worker.is_stored(IMAGE.digest)

    async def test_a_budget_without_room_for_one(self, site: Site) -> None:
        async with site.worker(max_size=10) as worker:
            assert (await worker.manifest("latest")).outcome is Outcome.PASS_THROUGH
            assert not worker.index.reserved()


class TestPatience:
    async def test_headers_go_out_for_a_known_size_when_the_upstream_is_slow(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry_proxy.cache.blobs.blobs._HEADERS_TIMEOUT", 0.05)
        async with site.worker() as worker:
            await worker.manifest("latest")
            held = site.simulated.arm("blob", Hang())
            reading = Reading(await worker.blob(BLOB.digest))
            assert not reading.received
            held.release()
            assert await reading.whole() == BLOB.raw

    async def test_an_unknown_size_is_waited_for(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("registry_proxy.cache.blobs.blobs._HEADERS_TIMEOUT", 0.0)
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw


class TestSizes:
    async def test_a_head_learns_the_size_by_a_fill_where_nothing_else_tells(self, site: Site) -> None:
        site.simulated.arm("blob", IgnoreRange(), Tamper(remove=("Content-Length",)), times=None)
        async with site.worker() as worker:
            served = await worker.cache.blobs.head(
                site.upstream.repository(Repository(REPOSITORY)), Digest.parse(BLOB.digest)
            )
            assert served.size == BLOB.size
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)

    async def test_a_fill_that_ends_while_another_repositorys_access_is_asked_for(self, site: Site) -> None:
        site.simulated.push("library/other", IMAGE, "same")
        async with site.worker() as worker:
            async with site.simulated.gate("blob", after=1000) as gate:
                first = Reading(await worker.blob(BLOB.digest))
                await first.until(1000)
                held = site.simulated.arm("blob", Hang(), repository="library/other")
                second = asyncio.create_task(worker.blob(BLOB.digest, "library/other"))
                await held.reached.wait()
                gate.release()
                await first.whole()
                await worker.settled(BLOB.digest)
            held.release()
            assert await read((await second).body) == BLOB.raw
        assert site.simulated.count("GET", "blob", BLOB.digest) == 2


async def test_the_index_keeps_to_a_size(site: Site) -> None:
    """Images are pulled and evicted for ever: rows of what is gone are not kept longer than access lasts."""
    async with site.worker(max_size=3_000_000) as worker:
        sizes = []
        for number in range(40):
            each = images.image(seed=100 + number, layers=1, layer_size=400_000)
            site.simulated.push(f"acme/app{number}", each, "latest")
            await worker.manifest("latest", f"acme/app{number}")
            await worker.store_blob(each.layers[0].digest, f"acme/app{number}")
            site.now.advance(site.rules.access_ttl)
            await worker.cache._collector.collect()
            sizes.append(worker.index.file_bytes())
        assert len(worker.index.repositories(None, "", 100)) < 12
        assert sizes[-1] <= sizes[19]
