"""On a full disk content can still be forgotten, which is what makes room on it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.index.values import ALPINE, blob, digest
from tests.storage.disks import small_disk

from registry_proxy.index.base import IndexFailedError
from registry_proxy.index.sqlite import SqliteIndex

if TYPE_CHECKING:
    from pathlib import Path


def fill_up(disk: Path) -> Path:
    """Use all that is left of the disk; the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


async def filled(disk: Path, count: int) -> SqliteIndex:
    index = SqliteIndex(disk / "index.db")
    for number in range(count):
        await index.record_blob(ALPINE, blob(number, 1), 1.0)
    return index


@pytest.mark.parametrize("count", [1, 50, 200])
async def test_content_can_be_forgotten(tmp_path: Path, count: int) -> None:
    with small_disk(tmp_path / "disk", "size=12m") as disk:
        index = await filled(disk, count)
        fill_up(disk)
        for number in range(count):
            await index.forget([digest(number)])
        assert index.used_bytes() == 0
        await index.close()


async def test_the_index_can_be_opened_and_content_be_forgotten(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=12m") as disk:
        await (await filled(disk, 50)).close()
        for left in (49, 48):
            fill_up(disk)
            index = SqliteIndex(disk / "index.db")
            await index.forget([digest(left)])
            assert index.used_bytes() == left
            await index.close()


async def test_without_a_reserve_writes_fail_until_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        index = await filled(disk, 1)
        ballast = fill_up(disk)
        with pytest.raises(IndexFailedError, match="disk is full"):
            await index.adopt([(digest(number), 1) for number in range(1000)], 1.0)
        assert index.failure() is None
        assert index.used_bytes() == 1
        ballast.unlink()
        await index.record_blob(ALPINE, blob("after", 1), 1.0)
        assert index.used_bytes() == 2
        await index.close()


async def test_without_a_reserve_an_index_that_can_t_be_opened_is_no_damage(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        await (await filled(disk, 1)).close()
        ballast = fill_up(disk)
        with pytest.raises(IndexFailedError, match=f"can't open the index {disk}/index.db"):
            SqliteIndex(disk / "index.db")
        ballast.unlink()
        index = SqliteIndex(disk / "index.db")
        assert index.used_bytes() == 1
        await index.close()
