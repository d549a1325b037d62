"""A follower's view of what another process does with the ingest that it owns; that process is played by the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site, Worker, read
from tests.kit import images
from tests.kit.waiting import until

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import RegistryError
from registry_proxy.oci.manifest import Descriptor
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.storage.base import Ingest

IMAGE = images.image(layers=1, layer_size=400_000)
BLOB = IMAGE.layers[0]
HALF = BLOB.size // 2


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")


@pytest.fixture
def owned(site: Site) -> Iterator[Ingest]:
    """The ingest, owned by another process."""
    ingest = FilesystemStore(site.root).begin(Digest.parse(BLOB.digest))
    assert ingest is not None
    yield ingest
    ingest.close()


def mark_as_in_commit(site: Site) -> None:
    """Mark the bytes as the owner's commit does before it syncs them."""
    (path,) = site.files("ingest")
    path.chmod(0o640)


async def announce(worker: Worker, size: int = 0) -> None:
    """Record which repository the owner's bytes come from, as the owner does before the first one."""
    await worker.index.reserve(Digest.parse(BLOB.digest), size, worker.site.now(), source(worker))


def source(worker: Worker) -> Source:
    return worker.site.upstream.repository(Repository(REPOSITORY)).source


def transfers(site: Site) -> int:
    return site.simulated.transfers(BLOB.digest)


async def test_it_is_read_as_it_grows_and_completed_by_its_owner(site: Site, owned: Ingest) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([BLOB.raw[:HALF]])
        reading = Reading(await worker.blob(BLOB.digest))
        await reading.until(HALF)
        owned.append([BLOB.raw[HALF:]])
        await reading.until(BLOB.size - 1)
        assert len(reading.received) == BLOB.size - 1
        owned.commit()
        assert await reading.whole() == BLOB.raw
        await worker.settled(BLOB.digest)
        await worker.index.record_blob(source(worker), Descriptor(owned.digest, BLOB.size), site.now())
        assert await worker.outcome(BLOB.digest) is Outcome.HIT
    assert transfers(site) == 0


async def test_bytes_that_are_thrown_away_unread_are_never_read(site: Site, owned: Ingest) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([b"x" * (BLOB.size + 1)])
        pull = asyncio.create_task(worker.pull(BLOB.digest))
        await until(lambda: worker.is_reading(BLOB.digest))
        owned.truncate()
        owned.append([BLOB.raw])
        owned.commit()
        assert await pull == BLOB.raw
    assert transfers(site) == 0


async def test_bytes_that_are_thrown_away_after_they_were_read_end_it(site: Site, owned: Ingest) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([b"x" * HALF])
        reading = Reading(await worker.blob(BLOB.digest))
        await reading.until(HALF)
        owned.truncate()
        owned.append([BLOB.raw])
        owned.commit()
        with pytest.raises(RegistryError, match="wrong and are discarded"):
            await reading.whole()
        await worker.settled(BLOB.digest)
        assert await worker.pull(BLOB.digest) == BLOB.raw


@pytest.mark.parametrize("right", [True, False])
async def test_an_owner_that_gives_up_storing(site: Site, owned: Ingest, right: bool) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([BLOB.raw[:HALF] if right else b"x" * HALF])
        reading = Reading(await worker.blob(BLOB.digest))
        await reading.until(HALF)
        owned.discard()
        if right:
            assert await reading.whole() == BLOB.raw
        else:
            with pytest.raises(RegistryError, match="digest"):
                await reading.whole()
            assert len(reading.received) == BLOB.size - 1
    assert transfers(site) == 1


async def test_an_owner_that_gives_up_before_anything_was_read_is_succeeded(
    site: Site, owned: Ingest
) -> None:
    async with site.worker() as worker:
        await announce(worker)
        pull = asyncio.create_task(worker.pull(BLOB.digest))
        await until(lambda: worker.is_reading(BLOB.digest))
        owned.discard()
        assert await pull == BLOB.raw
        await worker.settled(BLOB.digest)
        assert worker.is_stored(BLOB.digest)


async def test_an_owner_that_died_between_its_last_byte_and_its_commit(site: Site, owned: Ingest) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([BLOB.raw])
        mark_as_in_commit(site)
        assert await worker.pull(BLOB.digest) == BLOB.raw
        owned.close()
        await worker.settled(BLOB.digest)
        await worker.store_blob(BLOB.digest)
        assert worker.is_stored(BLOB.digest)
    assert transfers(site) == 0


async def test_content_that_another_process_commits_in_the_last_moment(site: Site) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        pull = asyncio.create_task(worker.blob(BLOB.digest))
        await asyncio.sleep(0)  # it has looked into the store, and its fill has not begun
        ingest = worker.store.begin(Digest.parse(BLOB.digest))
        assert ingest is not None
        ingest.append([BLOB.raw])
        ingest.commit()
        served = await pull
        assert await read(served.body) == BLOB.raw
        assert not site.files("ingest")
    assert transfers(site) == 0


@pytest.mark.parametrize("off", [-3, 3])
async def test_a_size_that_was_announced_and_is_not_kept_completes_for_nobody(
    site: Site, owned: Ingest, off: int
) -> None:
    async with site.worker() as worker:
        await announce(worker, BLOB.size + off)
        owned.append([BLOB.raw[:HALF]])
        reading = Reading(await worker.blob(BLOB.digest))
        await reading.until(HALF)
        owned.append([BLOB.raw[HALF:]])
        owned.commit()
        with pytest.raises(RegistryError, match="were announced"):
            await reading.whole()
        await worker.settled(BLOB.digest)
        assert await worker.pull(BLOB.digest) == BLOB.raw


async def test_the_end_of_the_service_while_following(site: Site, owned: Ingest) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await announce(worker)
        owned.append([BLOB.raw[:HALF]])
        reading = Reading(await worker.blob(BLOB.digest))
        await reading.until(HALF)
        await worker.kill()
        with pytest.raises(ConnectionError):
            await reading.whole()
