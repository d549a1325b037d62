from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from registry_proxy.index.base import Count
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.maintenance.counting import Counting
from registry_proxy.observe.counters import NO_REGISTRY, Counters
from registry_proxy.observe.observer import LOCAL

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_was_taken_is_not_taken_again() -> None:
    counters = Counters()
    counters.answered("docker.io", "miss", 200)
    counters.answered("docker.io", "hit", 200)
    counters.answered("docker.io", "hit", 200)
    counters.fetched("ghcr.io", 100)
    taken = counters.take()
    assert taken == {("docker.io", "miss"): 1, ("docker.io", "hit"): 2, ("ghcr.io", "fetched"): 100}
    assert counters.take() == {}


def test_what_was_put_back_adds_up_with_what_came_since() -> None:
    counters = Counters()
    counters.answered("docker.io", "hit", 200, 1)
    counters.answered("docker.io", "hit", 200, 1)
    counters.answered("docker.io", "miss", 200)
    counters.answered("docker.io", "miss", 200)
    counters.fetched("docker.io", 2)
    taken = counters.take()
    counters.answered("docker.io", "hit", 200, 4)
    counters.sent("docker.io", 1)
    counters.restore(taken)
    assert counters.take() == {
        ("docker.io", "hit"): 3,
        ("docker.io", "miss"): 2,
        ("docker.io", "served"): 7,
        ("docker.io", "fetched"): 2,
    }


def test_local_responses_are_not_counted_and_errors_are() -> None:
    counters = Counters()
    counters.answered(None, LOCAL, 200, 2)
    counters.answered(None, "NAME_UNKNOWN", 404, 100)
    counters.answered("ghcr.io", "UPSTREAM_BROKEN", 502, 100)
    assert counters.take() == {
        (NO_REGISTRY, "NAME_UNKNOWN"): 1,
        ("ghcr.io", "UPSTREAM_BROKEN"): 1,
    }


async def test_what_an_index_cannot_take_is_written_with_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "index.db"
    index, counters, pauses = SqliteIndex(path), Counters(), asyncio.Event()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE counter RENAME TO hidden")
        counters.answered("docker.io", "miss", 200)

        async def sleep(_: float) -> None:
            if caplog.records:
                other.execute("ALTER TABLE hidden RENAME TO counter")
                counters.answered("docker.io", "miss", 200)
                pauses.set()
                await asyncio.Event().wait()

        counting = asyncio.create_task(Counting(index, counters, lambda: 7.0, sleep).run())
        await pauses.wait()
        counting.cancel()
        await asyncio.wait([counting])
    assert index.counts() == [Count("docker.io", "miss", 2, 7.0)]
    assert "counters not written, they are kept for the next attempt" in caplog.text
    await index.close()
