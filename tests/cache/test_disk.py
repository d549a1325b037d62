"""The full disk, the failing disk, and content that is damaged or gone."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.cache.blobs import MIB, blob, fetch, hold, stored
from tests.cache.harness import REPOSITORY, Reading, Site, read
from tests.kit import images
from tests.kit.faults import Corrupt, Tamper
from tests.kit.waiting import TIMEOUT, until
from tests.storage.disks import broken, small_disk

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@asynccontextmanager
async def on_disk(tmp_path: Path, size: int) -> AsyncIterator[Site]:
    """A site whose whole store is on a small disk; `size` MiB of it are for content, the index keeps 4 for itself."""
    with small_disk(tmp_path / "disk", f"size={size + 5}m") as disk:
        async with Site(disk / "store") as site:
            site.root.mkdir()
            await site.simulate()
            yield site


def fill_up(disk: Path) -> Path:
    """Leave no byte free; the file that takes the space."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError:
                continue
    return ballast


class TestFullDisk:
    async def test_readers_get_every_byte_and_nothing_is_half_stored(self, tmp_path: Path) -> None:
        large = blob(1, 6 * MIB)
        async with on_disk(tmp_path, 3) as site:
            hold(site, large)
            async with site.worker() as worker:
                async with site.simulated.gate("blob", after=MIB) as gate:
                    readings = [Reading(await worker.blob(large.digest)) for _ in range(3)]
                    readings.append(Reading(await worker.blob(large.digest), 5 * MIB, 6 * MIB))
                    await gate.reached.wait()
                    gate.release()
                    *whole, part = [await reading.whole() for reading in readings]
                assert whole == [large.raw] * 3
                assert part == large.raw[5 * MIB :]
                await worker.settled(large.digest)
                assert not worker.is_stored(large.digest)
                assert not site.files("ingest")
                assert not worker.index.reserved()
                assert worker.index.used_bytes() == 0

    async def test_a_corrupt_blob_never_completes_on_a_full_disk_either(self, tmp_path: Path) -> None:
        large = blob(1, 6 * MIB)
        async with on_disk(tmp_path, 3) as site:
            hold(site, large)
            site.simulated.arm("blob", Corrupt(7), times=None)
            async with site.worker() as worker:
                reading = Reading(await worker.blob(large.digest))
                with pytest.raises(RegistryError, match="digest"):
                    await reading.whole()
                assert len(reading.received) == large.size - 1

    async def test_older_content_makes_room(self, tmp_path: Path) -> None:
        old, new = [blob(seed) for seed in range(3)], blob(9, 3 * MIB)
        async with on_disk(tmp_path, 5) as site:
            hold(site, *old, new)
            async with site.worker() as worker:
                await fetch(worker, *old)
                await worker.store_blob(new.digest)
                assert stored(worker, *old, new)[-1]
                assert not all(stored(worker, *old))
                assert not worker.index.reserved()

    async def test_older_content_makes_room_also_when_the_index_can_not_grow(self, tmp_path: Path) -> None:
        old, new = [blob(seed) for seed in range(3)], blob(9, MIB)
        async with on_disk(tmp_path, 5) as site:
            hold(site, *old, new)
            async with site.worker() as worker:
                await fetch(worker, *old)
            async with site.worker() as worker:
                fill_up(tmp_path / "disk")
                await worker.store_blob(new.digest)
                assert stored(worker, new) == [True]

    async def test_what_is_here_is_served_and_the_rest_passes_through(self, tmp_path: Path) -> None:
        image, other = images.image(layer_size=MIB // 4), images.image(seed=7, layer_size=MIB // 4)
        async with on_disk(tmp_path, 5) as site:
            site.simulated.push(REPOSITORY, image, "latest")
            site.simulated.push("library/other", other, "latest")
            async with site.worker() as worker:
                await worker.manifest("latest")
                for each in image.blobs:
                    await worker.store_blob(each.digest)
                # Nothing can go: no eviction helps.
                for path in site.files("blobs"):
                    os.link(path, path.with_suffix(".kept"))
                fill_up(tmp_path / "disk")
                site.now.advance(site.rules.tag_ttl + 1)
                for each in image.blobs:
                    assert await worker.pull(each.digest) == each.raw
                assert (await worker.manifest("latest")).manifest.raw == image.raw
                for _ in range(2):
                    assert (await worker.manifest("latest", "library/other")).manifest.raw == other.raw
                    assert (await worker.manifest(other.digest, "library/other")).manifest.raw == other.raw
                    for each in other.blobs:
                        assert await worker.pull(each.digest, "library/other") == each.raw
                (tmp_path / "disk" / "ballast").unlink()
                for each in other.blobs:
                    await worker.store_blob(each.digest, "library/other")
                assert stored(worker, *other.blobs) == [True] * 3

    async def test_a_disk_that_fails_in_the_middle_of_a_fill(self, site: Site) -> None:
        large = blob(1, 2 * MIB)
        hold(site, large)
        async with site.worker() as worker, site.simulated.gate("blob", after=MIB) as gate:
            reading = Reading(await worker.blob(large.digest))
            await reading.until(MIB)
            with broken("pwritev"):
                gate.release()
                assert await reading.whole() == large.raw
                assert await worker.pull(large.digest) == large.raw
            await worker.settled(large.digest)
            assert not worker.is_stored(large.digest)
            assert not worker.index.reserved()

    async def test_a_blob_of_unknown_size_can_not_pass_through(self, site: Site) -> None:
        small = blob(1)
        hold(site, small)
        site.simulated.arm("blob", Tamper(remove=("Content-Length",)), times=None)
        async with site.worker() as worker:
            with broken("pwritev"), pytest.raises(RegistryError, match="does not report the size"):
                async with asyncio.timeout(5):
                    await worker.blob(small.digest)
            assert not worker.index.reserved()
            assert await worker.pull(small.digest) == small.raw

    @pytest.mark.parametrize("call", ["fdatasync", "rename", "fchmod"])
    async def test_a_disk_that_fails_at_the_end_of_a_fill(self, site: Site, call: str) -> None:
        small = blob(1)
        hold(site, small)
        async with site.worker() as worker:
            with broken(call):
                assert await worker.pull(small.digest) == small.raw
                await worker.settled(small.digest)
            assert not worker.is_stored(small.digest)
            assert not worker.index.reserved()
            await worker.store_blob(small.digest)
            assert worker.is_stored(small.digest)

    async def test_a_leftover_that_can_not_be_read_is_replaced(self, site: Site) -> None:
        small = blob(1)
        hold(site, small)
        async with site.worker() as worker, site.simulated.gate("blob", after=MIB // 2):
            await Reading(await worker.blob(small.digest)).until(MIB // 2)
            await worker.kill()
        async with site.worker() as worker:
            served = await worker.blob(small.digest)
            with broken("pread"):
                await worker.settled(small.digest)
            assert await read(served.body) == small.raw
            await worker.store_blob(small.digest)
            assert worker.is_stored(small.digest)

    async def test_a_store_that_takes_no_new_file_passes_through(self, tmp_path: Path) -> None:
        small = blob(1)
        async with on_disk(tmp_path, 5) as site:
            hold(site, small)
            async with site.worker() as worker:
                (site.root / "ingest").rmdir()
                (site.root / "ingest").write_bytes(b"in the way")
                served = await worker.blob(small.digest)
                assert served.outcome is Outcome.PASS_THROUGH
                assert await read(served.body) == small.raw
                assert await worker.pull(small.digest) == small.raw

    async def test_nothing_comes_back_for_what_is_unknown_to_the_upstream(self, tmp_path: Path) -> None:
        async with on_disk(tmp_path, 5) as site:
            hold(site)
            async with site.worker() as worker:
                (site.root / "ingest").rmdir()
                (site.root / "ingest").write_bytes(b"in the way")
                with pytest.raises(RegistryError):
                    await worker.blob(blob(1).digest)


class TestDamage:
    async def test_a_missing_file_is_a_miss(self, site: Site) -> None:
        small = blob(1)
        hold(site, small)
        async with site.worker() as worker:
            await worker.store_blob(small.digest)
            [path] = site.files("blobs")
            path.unlink()
            served = await worker.blob(small.digest)
            assert served.outcome is Outcome.MISS
            assert await read(served.body) == small.raw
            await worker.settled(small.digest)
            assert worker.index.used_bytes() == MIB

    @pytest.mark.parametrize("size", [0, MIB - 1, MIB + 1])
    async def test_a_file_of_another_size_is_a_miss(self, site: Site, size: int) -> None:
        small = blob(1)
        hold(site, small)
        async with site.worker() as worker:
            await worker.store_blob(small.digest)
            [path] = site.files("blobs")
            os.truncate(path, size)
            served = await worker.blob(small.digest)
            assert served.outcome is Outcome.MISS
            assert await read(served.body) == small.raw
            await worker.settled(small.digest)
            assert worker.index.used_bytes() == MIB

    async def test_an_unreadable_file_is_a_miss(self, site: Site) -> None:
        small = blob(1)
        hold(site, small)
        async with site.worker() as worker:
            await worker.store_blob(small.digest)
            [path] = site.files("blobs")
            path.unlink()
            path.mkdir()
            assert await worker.pull(small.digest) == small.raw

    async def test_a_damaged_manifest_is_a_miss(self, site: Site) -> None:
        image = images.image()
        site.simulated.push(REPOSITORY, image, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
        [path] = site.files("blobs")
        path.write_bytes(image.raw.replace(b"sha256", b"SHA256"))
        async with site.worker() as worker:
            served = await worker.manifest(image.digest)
            assert served.manifest.raw == image.raw
            assert served.outcome is Outcome.MISS
        assert path.read_bytes() == image.raw

    async def test_after_the_loss_of_the_index_content_is_linked_again_without_transfers(
        self, site: Site
    ) -> None:
        image = images.image(layer_size=MIB)
        site.simulated.push(REPOSITORY, image, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            for each in image.blobs:
                await worker.store_blob(each.digest)
        for path in site.root.glob("index.db*"):
            path.unlink()
        asked = len(site.simulated.requests)
        async with site.worker() as worker:
            await worker.manifest("latest")
            for each in image.blobs:
                served = await worker.blob(each.digest)
                assert served.outcome is Outcome.REVALIDATED
                assert await read(served.body) == each.raw
                assert await worker.outcome(each.digest) is Outcome.HIT
            assert worker.index.used_bytes() == sum(each.size for each in (image.manifest, *image.blobs))
        manifest, *samples = site.simulated.requests[asked:]
        assert manifest.kind == "manifest"
        assert [request.kind for request in samples] == ["blob"] * len(image.blobs)
        assert all(request.sent <= 64 * 1024 for request in samples)


@contextmanager
def hanging_syncs() -> Iterator[threading.Event]:
    """A disk whose syncs wait for an event."""
    ends, sync = threading.Event(), os.fdatasync

    def hang(descriptor: int) -> None:
        ends.wait(TIMEOUT)
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", hang)
        try:
            yield ends
        finally:
            ends.set()


class TestSlowDisk:
    async def test_syncs_that_hang_delay_no_read(self, site: Site) -> None:
        image, blobs = images.image(), [blob(seed) for seed in range(24)]
        site.simulated.push(REPOSITORY, image, "latest")
        hold(site, *blobs)
        async with site.worker() as worker:
            await worker.manifest("latest")
        async with site.worker() as worker, asyncio.timeout(TIMEOUT):
            with hanging_syncs() as ends:
                # The clients have their bytes; the commits wait for the disk.
                assert [await worker.pull(each.digest) for each in blobs] == [each.raw for each in blobs]
                assert (await worker.manifest("latest")).outcome is Outcome.HIT
                assert not ends.is_set()
            for each in blobs:
                await worker.settled(each.digest)
                assert worker.is_stored(each.digest)

    async def test_what_is_complete_is_recorded_when_the_service_stops(self, site: Site) -> None:
        each = blob(1)
        hold(site, each)
        async with site.worker() as worker:
            with hanging_syncs() as ends:
                assert await worker.pull(each.digest) == each.raw
                worker.background.cancel()
                await asyncio.sleep(0)
                ends.set()
                await until(lambda: not worker.background._running)
            assert worker.is_stored(each.digest)
            assert worker.is_linked(each.digest)
            assert worker.index.used_bytes() == each.size
