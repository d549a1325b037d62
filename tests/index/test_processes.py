"""Several processes on one index, and a sudden end."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.index.indexes import open_index
from tests.index.values import ALPINE, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.index.base import Index

ROOT = Path(__file__).parents[2]


@contextmanager
def worker(address: str, prefix: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that waits, with the index open, for a line of input."""
    search = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.index.worker", address, prefix, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search},
    )
    with process:
        try:
            assert line(process) == "ready"
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def test_two_processes_write_at_once(index: Index, address: str) -> None:
    with worker(address, "a", 300) as a, worker(address, "b", 300) as b:
        start(a)
        start(b)
        for process in (a, b):
            assert process.stdout is not None
            assert sorted(map(int, process.stdout)) == list(range(300))
            assert process.wait() == 0
    names = [f"{prefix}-{number}" for prefix in "ab" for number in range(300)]
    assert all(index.content(digest(name)) and index.link(ALPINE, digest(name)) for name in names)
    assert index.used_bytes() == 600
    assert index.reserved() == {}
    assert index.repositories(None, "", 10) == [ALPINE]


async def test_one_process_s_awaited_write_shows_in_another_at_once(index: Index, address: str) -> None:
    with worker(address, "a", 1000) as process:
        start(process)
        for _ in range(200):
            assert index.content(digest(f"a-{line(process)}")) is not None


async def test_killed_while_it_writes_it_loses_nothing_awaited_and_tears_nothing(address: str) -> None:
    with worker(address, "a", 100_000) as process:
        start(process)
        awaited = [line(process) for _ in range(200)]
        process.kill()
        assert process.stdout is not None
        awaited += [rest.strip() for rest in process.stdout if rest.endswith("\n")]
    index = open_index(address)
    assert all(index.content(digest(f"a-{number}")) for number in awaited)
    least_recently_used = index.least_recently_used(1_000_000)
    assert index.used_bytes() == len(least_recently_used) + len(index.reserved())
    assert all(index.link(ALPINE, content.digest) for content in least_recently_used), (
        "no row came without the others of its write"
    )
    assert not any(content.digest in index.reserved() for content in least_recently_used)
    await index.close()
