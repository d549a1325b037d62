from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from registry_proxy.index.base import Count
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.maintenance.counting import Counting
from registry_proxy.observe.counters import Counters

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_was_taken_is_not_taken_again() -> None:
    counters = Counters()
    counters.of("docker.io").count("miss")
    counters.of("docker.io").hits += 2
    counters.of("ghcr.io").receive(100)
    taken = counters.take()
    assert taken == {("docker.io", "miss"): 1, ("docker.io", "hit"): 2, ("ghcr.io", "fetched"): 100}
    assert counters.take() == {}


def test_what_was_put_back_adds_up_with_what_came_since() -> None:
    counters = Counters()
    tally = counters.of("docker.io")
    for name in ("hit", "miss", "served", "fetched"):
        tally.count(name, 2)
    taken = counters.take()
    tally.hits += 1
    tally.served += 5
    counters.put_back(taken)
    assert counters.of("docker.io") is tally
    assert counters.take() == {
        ("docker.io", "hit"): 3,
        ("docker.io", "miss"): 2,
        ("docker.io", "served"): 7,
        ("docker.io", "fetched"): 2,
    }


async def test_what_an_index_cannot_take_is_written_with_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "index.db"
    index, counters, pauses = SqliteIndex(path), Counters(), asyncio.Event()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE counter RENAME TO hidden")
        counters.of("docker.io").count("miss")

        async def sleep(_: float) -> None:
            if caplog.records:
                other.execute("ALTER TABLE hidden RENAME TO counter")
                counters.of("docker.io").count("miss")
                pauses.set()
                await asyncio.Event().wait()

        counting = asyncio.create_task(Counting(index, counters, lambda: 7.0, sleep).run())
        await pauses.wait()
        counting.cancel()
        await asyncio.wait([counting])
    assert index.counts() == [Count("docker.io", "miss", 2, 7.0)]
    assert "what was counted is not written yet" in caplog.text
    await index.close()
