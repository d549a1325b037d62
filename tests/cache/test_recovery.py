"""What a process that dies between a file and its row leaves behind is put in order by the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit import images

from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.cache.harness import Worker

    from registry_proxy.storage.ingest import FileIngest

RAW = images.incompressible(10_000)
DIGEST = Digest.of(RAW)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with Site(tmp_path, max_size=25_000) as site:
        await site.simulate()
        async with site.worker() as worker:
            yield worker


def commit(root: Path) -> None:
    ingest = FilesystemStore(root).begin(DIGEST)
    assert ingest is not None
    ingest.append([RAW])
    ingest.commit()


async def test_content_that_was_committed_but_not_recorded_counts(worker: Worker) -> None:
    await worker.index.reserve(DIGEST, len(RAW), worker.site.now())
    commit(worker.site.root)
    await worker.cache.evictor.clean_up()
    assert worker.index.reserved() == {}
    assert worker.index.used_bytes() == len(RAW)


async def test_content_that_was_forgotten_but_not_deleted_counts_until_it_is_evicted(worker: Worker) -> None:
    commit(worker.site.root)
    await worker.index.adopt([(DIGEST, len(RAW))], worker.site.now())
    await worker.index.reserve(DIGEST, len(RAW), worker.site.now())
    await worker.index.forget([DIGEST])
    await worker.cache.evictor.clean_up()
    assert worker.index.used_bytes() == len(RAW)
    assert await worker.cache.evictor.free(len(RAW))
    assert worker.index.used_bytes() == 0
    assert not worker.is_stored(str(DIGEST))


async def test_space_for_what_never_came_is_free_again(worker: Worker) -> None:
    await worker.index.reserve(DIGEST, len(RAW), worker.site.now())
    await worker.cache.evictor.clean_up()
    assert worker.index.used_bytes() == 0


async def test_interrupted_transfer_keeps_its_space(worker: Worker) -> None:
    ingest = worker.store.begin(DIGEST)
    assert ingest is not None
    ingest.append([RAW[:5000]])
    ingest.close()
    await worker.index.reserve(DIGEST, len(RAW), worker.site.now())
    await worker.cache.evictor.clean_up()
    assert worker.index.reserved() == {DIGEST: len(RAW)}


async def test_eviction_leaves_no_reservation(worker: Worker) -> None:
    commit(worker.site.root)
    await worker.index.adopt([(DIGEST, len(RAW))], worker.site.now())
    assert await worker.cache.evictor.free(len(RAW))
    assert worker.index.reserved() == {}
    assert worker.site.files("blobs") == []


async def test_follower_that_comes_upon_the_owners_commit_reads_to_the_end(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(worker.site.upstream.registry, Repository(REPOSITORY))
    await worker.index.record_link(source, DIGEST, len(RAW), worker.site.now())
    owner = FilesystemStore(worker.site.root).begin(DIGEST)
    assert owner is not None
    owner.append([RAW[:5000]])
    begin = worker.store.begin

    def begin_after_commit(digest: Digest) -> FileIngest | None:
        if worker.is_reading(str(DIGEST)) and not worker.is_stored(str(DIGEST)):
            owner.append([RAW[5000:]])
            owner.commit()
        return begin(digest)

    monkeypatch.setattr(worker.store, "begin", begin_after_commit)
    assert await worker.pull(str(DIGEST)) == RAW
    assert worker.site.files("ingest") == []
