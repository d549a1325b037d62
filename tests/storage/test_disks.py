"""Disks that are full, read-only or broken."""

from __future__ import annotations

import resource
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from tests.storage.disks import broken, make_read_only, small_disk
from tests.storage.stores import BLOB, CONTENT, DIGEST, INGEST, begin, put, read

from registry_proxy.storage.base import StoreError, StoreFullError
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(root: Path) -> FilesystemStore:
    return FilesystemStore(root)


class TestFullDisk:
    def test_the_bytes_that_fit_are_kept_and_the_rest_can_follow_later(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", "size=1m") as disk:
            store = FilesystemStore(disk)
            (disk / "ballast").write_bytes(bytes(512 * 1024))
            ingest = begin(store)
            chunks = [b"x" * 100_000] * 9
            with pytest.raises(StoreFullError, match="No space left on device"):
                ingest.append(chunks)
            kept = ingest.size
            assert 300_000 < kept < 600_000
            with ingest.view() as view:
                assert view.readall() == b"x" * kept
            (disk / "ballast").unlink()
            ingest.append([b"y"])
            with ingest.view() as view:
                assert view.readall() == b"x" * kept + b"y"
            ingest.discard()

    def test_content_is_read_and_deleted_all_the_same(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", "size=1m") as disk:
            store = FilesystemStore(disk)
            put(store, CONTENT)
            ingest = begin(store)
            with pytest.raises(StoreFullError):
                ingest.append([bytes(2_000_000)])
            assert read(store, DIGEST) == CONTENT
            store.delete(DIGEST)
            ingest.discard()
            put(store, CONTENT)

    def test_no_file_can_be_made(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", "nr_inodes=8") as disk:
            store = FilesystemStore(disk)
            ballast = fill_up(disk)
            with pytest.raises(StoreFullError, match=DIGEST.hex):
                store.begin(DIGEST)
            ballast.unlink()
            ingest = begin(store)
            with pytest.raises(StoreFullError, match="commit"):
                ingest.commit()  # there is no inode left for the content's folder
            begin(store).discard()

    def test_a_limit_on_the_file_size_counts_as_full(self, store: FilesystemStore) -> None:
        ingest = begin(store)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(StoreFullError, match="File too large"):
                ingest.append([bytes(600), bytes(600)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert ingest.size == 1000
        ingest.discard()


def fill_up(disk: Path) -> Path:
    """Use all inodes; returns a file that can be deleted to free one."""
    for number in range(100):
        try:
            (disk / str(number)).touch()
        except OSError:
            return disk / str(number - 1)
    raise AssertionError("the disk has no limit")


class TestBrokenDisk:
    def test_a_read_only_one_still_serves(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", "size=1m") as disk:
            put(FilesystemStore(disk), CONTENT)
            make_read_only(disk)
            store = FilesystemStore(disk)
            assert read(store, DIGEST) == CONTENT
            with pytest.raises(StoreError, match="Read-only file system"):
                store.begin(DIGEST)
            with pytest.raises(StoreError, match=rf"delete {disk / BLOB}: Read-only file system"):
                store.delete(DIGEST)

    def test_one_that_can_t_be_written_is_not_full(self, store: FilesystemStore, root: Path) -> None:
        ingest = begin(store)
        with broken("pwritev"), pytest.raises(StoreError) as caught:
            ingest.append([CONTENT])
        assert str(caught.value) == f"can't write {root / INGEST}: Input/output error"
        assert not isinstance(caught.value, StoreFullError)
        assert ingest.size == 0
        ingest.discard()

    def test_a_commit_that_can_t_mark_the_bytes_marks_nothing(
        self, store: FilesystemStore, root: Path
    ) -> None:
        ingest = begin(store)
        followed = store.follow(DIGEST)
        assert followed is not None
        with broken("fchmod"), pytest.raises(StoreError, match=rf"commit {root / INGEST}: Input/output"):
            ingest.commit()
        assert not followed.verified()
        assert followed.discarded()
        followed.close()

    def test_a_discard_that_fails_gives_the_lock_back(self, store: FilesystemStore) -> None:
        ingest = begin(store)
        with broken("unlink"), pytest.raises(StoreError, match="delete"):
            ingest.discard()
        begin(store).discard()

    @pytest.mark.parametrize("call", ["open", "follow"])
    def test_what_can_t_be_read_is_not_missing(self, store: FilesystemStore, root: Path, call: str) -> None:
        for path in (root / BLOB, root / INGEST):
            path.mkdir(parents=True)
        with pytest.raises(StoreError, match="Is a directory"):
            getattr(store, call)(DIGEST)

    def test_a_folder_that_can_t_be_listed_is_an_error(self, store: FilesystemStore) -> None:
        with broken("scandir"), pytest.raises(StoreError, match=r"can't list .*/blobs/sha256"):
            list(store.walk())

    def test_an_abandoned_ingest_that_can_t_be_deleted_is_an_error(self, store: FilesystemStore) -> None:
        begin(store).close()
        with broken("unlink"), pytest.raises(StoreError, match=f"can't delete .*{DIGEST.hex}"):
            store.remove_abandoned_ingests(time.time() + 60)

    def test_a_view_that_can_t_be_opened_is_an_error(self, store: FilesystemStore) -> None:
        ingest = begin(store)
        ingest.commit()
        store.delete(DIGEST)
        with pytest.raises(StoreError, match="No such file"):
            ingest.view()

    def test_folders_that_can_t_be_made_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=rf"create the directory {tmp_path}/file/store: Not a directory"):
            FilesystemStore(tmp_path / "file" / "store")

    def test_a_store_whose_folders_were_deleted_is_empty(self, store: FilesystemStore, root: Path) -> None:
        put(store, CONTENT)
        shutil.rmtree(root)
        assert store.open(DIGEST) is None
        assert list(store.walk()) == []
        assert store.remove_abandoned_ingests(time.time() + 60) == []
        with pytest.raises(StoreError, match="No such file"):
            store.begin(DIGEST)
