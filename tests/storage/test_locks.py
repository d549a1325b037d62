from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from registry_proxy.storage.base import StoreError
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD_FOREVER = """
import sys
from pathlib import Path
from registry_proxy.storage.locks import FileLocks
assert FileLocks(Path(sys.argv[1])).try_acquire("name")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def one(path: Path) -> Iterator[FileLocks]:
    locks = FileLocks(path)
    yield locks
    locks.close()


@pytest.fixture
def other(path: Path) -> Iterator[FileLocks]:
    """Another holder, as in another process: the locks belong to the open file."""
    locks = FileLocks(path)
    yield locks
    locks.close()


def test_a_lock_has_one_holder(one: FileLocks, other: FileLocks) -> None:
    assert one.try_acquire("name")
    assert not other.try_acquire("name")


def test_other_names_are_free(one: FileLocks, other: FileLocks) -> None:
    assert one.try_acquire("name")
    assert other.try_acquire("another name")


def test_a_released_lock_is_free_and_the_others_are_not(one: FileLocks, other: FileLocks) -> None:
    assert one.try_acquire("a")
    assert one.try_acquire("b")
    one.release("a")
    assert other.try_acquire("a")
    assert not other.try_acquire("b")


def test_closing_gives_all_back(path: Path, other: FileLocks) -> None:
    locks = FileLocks(path)
    assert locks.try_acquire("name")
    locks.close()
    assert other.try_acquire("name")


def test_a_holder_s_death_frees_its_locks(path: Path, other: FileLocks) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_FOREVER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not other.try_acquire("name")
        holder.kill()
    assert other.try_acquire("name")


def test_no_name_leaves_anything_in_the_file(path: Path, one: FileLocks) -> None:
    for number in range(100):
        assert one.try_acquire(str(number))
        one.release(str(number))
    assert path.stat().st_size == 0


def test_a_file_that_can_t_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path}"):
        FileLocks(tmp_path)


def test_a_look_tells_what_others_hold_and_takes_nothing(one: FileLocks, other: FileLocks) -> None:
    assert other.is_free("name")
    assert one.try_acquire("name")
    assert not other.is_free("name")
    assert other.is_free("another name")
    one.release("name")
    assert other.is_free("name")
    assert one.try_acquire("name")
