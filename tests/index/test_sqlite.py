"""The SQLite index's own: its file, read by other processes, and its write-ahead log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.index.values import ALPINE, blob, digest, manifest

from registry_proxy.index.base import IndexFailedError
from registry_proxy.index.sqlite import SqliteIndex, SqliteReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def index(path: Path) -> AsyncIterator[SqliteIndex]:
    index = SqliteIndex(path)
    yield index
    await index.close()


class TestReader:
    async def test_sees_what_others_write(self, index: SqliteIndex, path: Path) -> None:
        with SqliteReader.open(path) as reader:
            await index.record_blob(ALPINE, blob("a", 10), 1.0)
            assert reader.used_bytes() == 10
            assert [usage.size for usage in await reader.usage()] == [10]

    async def test_makes_no_file(self, path: Path) -> None:
        with pytest.raises(IndexFailedError, match=f"can't read the index {path}"), SqliteReader.open(path):
            pass
        assert not path.exists()

    async def test_leaves_a_damaged_file_where_it_is(self, path: Path) -> None:
        path.write_bytes(b"garbage" * 1000)
        with pytest.raises(IndexFailedError, match="file is not a database"), SqliteReader.open(path):
            pass
        assert path.read_bytes() == b"garbage" * 1000

    @pytest.mark.usefixtures("index")
    async def test_refuses_another_version_s_file(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA user_version = 1")
        with pytest.raises(IndexFailedError, match="has the schema 1, not 4"), SqliteReader.open(path):
            pass


class TestFile:
    async def test_errors_after_the_close_name_it(self, index: SqliteIndex, path: Path) -> None:
        await index.close()
        await index.close()
        with pytest.raises(IndexFailedError, match=f"can't read {path}"):
            index.used_bytes()
        with pytest.raises(IndexFailedError, match=f"can't write to {path}: the index is closed"):
            await index.release(digest("a"))

    async def test_reads_keep_no_snapshot(self, index: SqliteIndex, path: Path) -> None:
        """One that did would keep the write-ahead log from being reset, and it would grow without end."""
        await index.record_manifest(ALPINE, manifest("image", blob("layer")), "latest", 1.0)
        assert index.link(ALPINE, digest("layer"))
        assert index.tag(ALPINE, "latest")
        assert index.least_recently_used(1)
        await index.usage()
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)

    async def test_a_survey_of_a_file_that_is_gone_fails(self, index: SqliteIndex, path: Path) -> None:
        path.parent.rename(path.parent.with_name("elsewhere"))
        with pytest.raises(IndexFailedError, match="unable to open"):
            await index.usage()
