"""What is the file system store's own: names, modes, the order of syncs, and disks that fail."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from io import FileIO
from typing import TYPE_CHECKING

import pytest
from tests.storage.disks import broken
from tests.storage.owner import Owner
from tests.storage.stores import BLOB, CONTENT, DIGEST, INGEST, begin, put, read

from registry_proxy.storage.base import StoreError
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(root: Path) -> FilesystemStore:
    return FilesystemStore(root)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestLayout:
    def test_names_are_as_documented(self, store: FilesystemStore, root: Path) -> None:
        ingest = begin(store)
        assert (root / INGEST).exists()
        ingest.commit()
        assert (root / BLOB).exists()

    def test_only_the_owner_may_look_in(self, store: FilesystemStore, root: Path) -> None:
        put(store, CONTENT)
        assert {mode(path) for path in (root, *root.rglob("*")) if path.is_dir()} == {0o700}

    def test_the_mark_is_a_mode_that_lets_the_next_owner_write(
        self, store: FilesystemStore, root: Path
    ) -> None:
        with Owner(f"filesystem:{root}") as owner:
            owner.tell("begin", DIGEST)
            assert mode(root / INGEST) == 0o600
            owner.die_in_commit()
        assert mode(root / INGEST) == 0o640
        begin(store).close()
        assert mode(root / INGEST) == 0o600

    def test_foreign_files_are_ignored(self, store: FilesystemStore, root: Path) -> None:
        put(store, CONTENT)
        foreign = [
            root / "blobs/sha256/README",
            root / "blobs/sha256/zz" / DIGEST.hex,
            root / BLOB.parent / "notes.txt",
            root / BLOB.parent / DIGEST.hex[:-1],
            root / "ingest/notes.txt",
        ]
        for path in foreign:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        (root / BLOB.parent / (DIGEST.hex[:2] + "0" * 62)).mkdir()
        (root / BLOB.parent / (DIGEST.hex[:2] + "1" * 62)).symlink_to(root / BLOB)
        assert list(store.walk()) == [(DIGEST, 16)]
        assert store.remove_abandoned_ingests(time.time() + 60) == []
        assert all(path.exists() for path in foreign)

    def test_walk_passes_over_what_is_deleted_meanwhile(self, store: FilesystemStore, root: Path) -> None:
        for number in range(50):
            put(store, b"%d" % number)
        walk = store.walk()
        next(walk)
        for path in (root / "blobs").rglob("*"):
            if path.is_file():
                path.unlink()
        assert list(walk) == []


class TestCommit:
    def test_syncs_the_bytes_before_the_rename_and_the_folder_after_it(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []

        def note(name: str) -> None:
            call = getattr(os, name)

            def noted(*args: object) -> None:
                steps.append(name)
                call(*args)

            monkeypatch.setattr(os, name, noted)

        ingest = begin(store)
        for name in ("fdatasync", "fsync", "rename"):
            note(name)
        ingest.commit()
        assert steps == [
            "fdatasync",
            "fsync",
            "rename",
            "fsync",
        ]  # the first fsync: the new folder's own entry

    @pytest.mark.parametrize("has_folder", [False, True])
    @pytest.mark.parametrize("call", ["fdatasync", "fsync", "rename", "fchmod"])
    def test_that_fails_leaves_no_content_and_no_bytes_to_resume(
        self, store: FilesystemStore, root: Path, call: str, has_folder: bool
    ) -> None:
        if has_folder:
            (root / BLOB.parent).mkdir()
        ingest = begin(store)
        ingest.append([CONTENT])
        with broken(call), pytest.raises(StoreError, match=DIGEST.hex):
            ingest.commit()
        assert store.open(DIGEST) is None
        again = begin(store)
        assert again.size == 0
        again.discard()

    @pytest.mark.parametrize("replaced", [False, True])
    def test_of_a_file_that_another_program_took_away_stores_nothing(
        self, store: FilesystemStore, root: Path, replaced: bool
    ) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        (root / INGEST).unlink()
        if replaced:
            (root / INGEST).write_bytes(b"unverified")
        with ingest.view() as view:
            assert view.read() == CONTENT
        with pytest.raises(StoreError, match="another program"):
            ingest.commit()
        assert store.open(DIGEST) is None
        assert (root / INGEST).exists() is replaced

    def test_fails_where_a_file_stands_in_place_of_the_folder(
        self, store: FilesystemStore, root: Path
    ) -> None:
        (root / BLOB.parent).touch()
        with pytest.raises(StoreError, match="Not a directory"):
            begin(store).commit()

    def test_is_seen_by_followers_before_the_sync(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ingest = begin(store)
        followed = store.follow(DIGEST)
        assert followed is not None
        assert not followed.verified()
        sync, seen = os.fdatasync, []

        def look_first(fd: int) -> None:
            seen.append(followed.verified())
            sync(fd)

        monkeypatch.setattr(os, "fdatasync", look_first)
        ingest.commit()
        assert seen == [True]
        followed.close()

    def test_that_its_owner_did_not_survive_is_verified_again(
        self, store: FilesystemStore, root: Path
    ) -> None:
        with Owner(f"filesystem:{root}") as owner:
            owner.tell("begin", DIGEST)
            owner.tell("append", "sixteen-bytes...")
            owner.die_in_commit()
        followed = store.follow(DIGEST)
        assert followed is not None
        assert followed.verified()
        ingest = begin(store)
        assert ingest.size == 16
        assert not followed.verified()
        ingest.append([b"!"])
        assert followed.size() == 17
        followed.close()
        ingest.discard()


class TestBegin:
    def test_between_open_and_lock_the_owner_commits(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = begin(store)
        owner.append([CONTENT])
        lock = fcntl.flock

        def commit_first(fd: int, operation: int) -> None:
            monkeypatch.setattr(fcntl, "flock", lock)
            owner.commit()
            lock(fd, operation)

        monkeypatch.setattr(fcntl, "flock", commit_first)
        late = begin(store)
        late.append([b"garbage"])
        assert read(store, DIGEST) == CONTENT
        late.discard()

    def test_fails_where_locks_don_t_work(self, store: FilesystemStore) -> None:
        with broken("flock", errno.ENOLCK, fcntl), pytest.raises(StoreError, match="No locks available"):
            store.begin(DIGEST)


class TestTruncate:
    def test_that_fails_keeps_the_ingest(self, store: FilesystemStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        with broken("rename"), pytest.raises(StoreError, match=r"truncate .*: Input/output error"):
            ingest.truncate()
        assert ingest.size == 16
        ingest.commit()
        assert read(store, DIGEST) == CONTENT

    def test_fails_while_another_process_holds_the_replacement(
        self, store: FilesystemStore, root: Path
    ) -> None:
        ingest = begin(store)
        with (root / f"{INGEST}.new").open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(StoreError, match="another process"):
                ingest.truncate()
        ingest.truncate()
        ingest.discard()

    def test_a_replacement_that_a_crash_left_is_begun_anew(self, store: FilesystemStore, root: Path) -> None:
        (root / f"{INGEST}.new").write_bytes(b"left")
        ingest = begin(store)
        ingest.truncate()
        assert ingest.size == 0
        assert (root / INGEST).stat().st_size == 0
        ingest.discard()

    def test_a_replacement_that_a_crash_left_is_removed_in_time(
        self, store: FilesystemStore, root: Path
    ) -> None:
        (root / f"{INGEST}.new").write_bytes(b"left")
        assert store.remove_abandoned_ingests(time.time() + 60) == [DIGEST]
        assert not (root / f"{INGEST}.new").exists()


class TestAbandonedIngests:
    def test_one_that_was_written_just_now_stays(
        self, store: FilesystemStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(store).close()
        os.utime(root / INGEST, (0, 0))
        lock = fcntl.flock

        def write_first(fd: int, operation: int) -> None:
            os.utime(root / INGEST)
            lock(fd, operation)

        monkeypatch.setattr(fcntl, "flock", write_first)
        assert store.remove_abandoned_ingests(time.time() - 60) == []
        assert (root / INGEST).exists()

    def test_one_that_its_owner_just_ended_is_none(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = begin(store)
        lock = fcntl.flock

        def discard_first(fd: int, operation: int) -> None:
            owner.discard()
            lock(fd, operation)

        monkeypatch.setattr(fcntl, "flock", discard_first)
        assert store.remove_abandoned_ingests(time.time() + 60) == []


class TestLinks:
    def test_a_file_gets_a_second_name(self, root: Path, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        before = path.stat()
        with FileIO(path) as file:
            assert FilesystemStore(root).link(DIGEST, file)
        after = path.stat()
        assert (root / BLOB).samefile(path)
        assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (
            before.st_mode,
            before.st_mtime_ns,
            before.st_uid,
        )

    def test_what_was_opened_is_linked_whatever_stands_in_its_place_by_now(
        self, root: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        with FileIO(path) as file:
            path.rename(tmp_path / "moved")
            path.write_bytes(b"forged")
            assert FilesystemStore(root).link(DIGEST, file)
        assert (root / BLOB).read_bytes() == CONTENT

    def test_content_that_is_there_stays(self, root: Path, tmp_path: Path) -> None:
        store = FilesystemStore(root)
        put(store, CONTENT)
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        with FileIO(path) as file:
            assert store.link(DIGEST, file)
        assert not (root / BLOB).samefile(path)

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
    def test_what_cannot_be_linked_is_left_to_a_copy(self, root: Path, tmp_path: Path, code: int) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        with FileIO(path) as file, broken("link", code):
            assert not FilesystemStore(root).link(DIGEST, file)

    def test_a_broken_disk_is_told(self, root: Path, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        store = FilesystemStore(root)
        with (
            FileIO(path) as file,
            broken("link"),
            pytest.raises(StoreError, match=f"can't write {root / BLOB}"),
        ):
            store.link(DIGEST, file)
