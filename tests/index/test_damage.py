"""Files that can't be the index are moved aside, and never deleted; what is only in the way is an error."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, BinaryIO

import pytest
from tests.index.values import ALPINE, blob
from tests.storage.disks import make_read_only, small_disk

from registry_proxy.index.base import IndexCheck, IndexFailedError
from registry_proxy.index.database import is_damage, replaced_files
from registry_proxy.index.sqlite import SqliteIndex

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096


async def fill(path: Path) -> None:
    """A closed index with many pages, whose scan has ended."""
    index = SqliteIndex(path)
    await index.end_scan()
    for number in range(300):
        await index.record_blob(ALPINE, blob(number), 1.0)
    await index.close()


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


async def expect_new_one(path: Path, aside: Path) -> None:
    before = path.read_bytes()
    index = SqliteIndex(path)
    assert index.is_new
    assert index.used_bytes() == 0
    await index.record_blob(ALPINE, blob("a"), 1.0)
    await index.close()
    assert aside.read_bytes() == before


async def test_a_file_that_is_no_database_is_moved_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"not a database, but somebody's text" * 100)
    aside = path.with_name("index.db.damaged-1")
    await expect_new_one(path, aside)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert (
        f"index {path} is unusable (file is not a database): moved to {aside}, starting a new one."
        in record.getMessage()
    )


@pytest.mark.parametrize("start", [PAGE * 3, PAGE * 8], ids=["a page", "another page"])
async def test_a_damaged_page_is_found_at_the_start(path: Path, start: int) -> None:
    await fill(path)
    overwrite(path, start, b"\xa5" * PAGE)
    await expect_new_one(path, path.with_name("index.db.damaged-1"))


async def test_a_quick_check_leaves_a_damaged_page_to_its_first_use(path: Path) -> None:
    await fill(path)
    overwrite(path, PAGE * 8, b"\xa5" * PAGE)
    index = SqliteIndex(path, IndexCheck.QUICK)
    assert not index.is_new
    assert not path.with_name("index.db.damaged-1").exists()
    await index.close()


async def test_a_quick_check_finds_a_file_that_is_no_index(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    index = SqliteIndex(path, IndexCheck.QUICK)
    assert index.is_new
    assert path.with_name("index.db.damaged-1").exists()
    await index.close()


async def test_a_file_that_was_cut_is_moved_aside(path: Path) -> None:
    await fill(path)
    path.write_bytes(path.read_bytes()[: PAGE * 5])
    await expect_new_one(path, path.with_name("index.db.damaged-1"))


async def test_another_program_s_database_is_moved_aside_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (value)")
    await expect_new_one(path, path.with_name("index.db.damaged-1"))


async def test_an_empty_file_is_a_new_index(path: Path) -> None:
    path.touch()
    index = SqliteIndex(path)
    assert index.is_new
    await index.close()
    assert not path.with_name("index.db.damaged-1").exists()


async def test_earlier_damaged_files_stay(path: Path) -> None:
    for number in (1, 2, 3):
        path.write_bytes(b"garbage %d" % number)
        await expect_new_one(path, path.with_name(f"index.db.damaged-{number}"))


async def test_the_log_of_a_damaged_file_goes_with_it(path: Path) -> None:
    path.write_bytes(b"garbage")
    path.with_name("index.db-wal").write_bytes(b"log")
    index = SqliteIndex(path)
    await index.close()
    assert path.with_name("index.db.damaged-1-wal").read_bytes() == b"log"


async def test_a_file_in_use_by_another_process_is_never_moved(path: Path) -> None:
    user = SqliteIndex(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(IndexFailedError, match="has the schema 99, not 4, and other processes are using it"):
        SqliteIndex(path)
    await user.record_blob(ALPINE, blob("a"), 1.0)
    await user.close()


async def test_a_process_that_dies_while_it_prepares_the_file_leaves_that_to_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = path.with_name("index.db.lock").open("ab")
    lock = fcntl.flock
    lock(other, fcntl.LOCK_EX)

    def die_when_waited_for(file: BinaryIO, operation: int) -> None:
        if operation == fcntl.LOCK_SH:
            other.close()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", die_when_waited_for)
    index = SqliteIndex(path)
    assert index.is_new
    await index.record_blob(ALPINE, blob("a"), 1.0)
    await index.close()


async def test_a_newer_version_s_index_is_left_as_it_is(path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(
        IndexFailedError, match=r"a newer version of this program \(its schema is 99, .* is 4\)"
    ):
        SqliteIndex(path)
    assert path.read_bytes() == before


async def test_a_folder_in_its_place_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(IndexFailedError, match=f"can't open the index {path}: .*Is a directory"):
        SqliteIndex(path)
    assert path.is_dir()


async def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IndexFailedError, match="No such file or directory"):
        SqliteIndex(tmp_path / "nowhere" / "index.db")


async def test_a_read_only_disk_is_an_error_and_no_damage(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        await fill(disk / "index.db")
        make_read_only(disk)
        with pytest.raises(IndexFailedError, match="Read-only file system"):
            SqliteIndex(disk / "index.db")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_READ, True),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_IOERR_FSYNC, False),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_CANTOPEN, False),
    ],
)
def test_only_what_another_file_mends_is_damage(code: int, expected: bool) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    assert is_damage(error) is expected


async def test_an_open_index_says_that_its_file_is_damaged(path: Path) -> None:
    await fill(path)
    index = SqliteIndex(path)
    assert index.failure() is None
    overwrite(path, 0, b"\xa5" * path.stat().st_size)
    with pytest.raises(IndexFailedError):
        index.least_recently_used(1000)
    assert index.failure() in {"file is not a database", "database disk image is malformed"}
    with suppress(IndexFailedError):
        await index.record_blob(ALPINE, blob("a"), 1.0)
    await index.close()
    await expect_new_one(path, path.with_name("index.db.damaged-1"))


async def test_an_open_index_says_that_its_file_is_gone(path: Path) -> None:
    await fill(path)
    index = SqliteIndex(path)
    path.rename(path.with_name("elsewhere"))
    assert index.failure() == "another program has deleted or replaced the file"
    await index.close()


async def test_an_index_that_fails_without_damage_can_be_replaced_by_a_process_that_has_it_alone(
    path: Path,
) -> None:
    await fill(path)
    index = SqliteIndex(path)
    await index.close()
    replaced = SqliteIndex(path, IndexCheck.REPLACE)
    assert replaced.is_new
    other = SqliteIndex(path, IndexCheck.REPLACE)
    assert not other.is_new
    await other.close()
    await replaced.close()
    assert [each.name for each in replaced_files(path)][:1] == ["index.db.damaged-1"]
