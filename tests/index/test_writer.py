"""One thread, few transactions, and failures that stay with those who wait for them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from registry_proxy.index.base import IndexFailedError
from registry_proxy.index.writer import BatchingWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Bench:
    """A writer on a table of numbers. `hold` makes it wait inside a transaction until `go_on`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE number (value INTEGER PRIMARY KEY)")
        self.statements: list[str] = []
        connection.set_trace_callback(self.statements.append)
        self.writer = BatchingWriter(connection, "the bench", make_room=lambda: None)
        self.held = threading.Event()
        self.go_on = threading.Event()

    async def hold(self) -> asyncio.Task[int]:
        def wait(_: sqlite3.Connection) -> int:
            self.held.set()
            self.go_on.wait()
            return -1

        task = asyncio.ensure_future(self.writer.write(wait))
        await asyncio.to_thread(self.held.wait)
        return task

    def put(self, value: int) -> asyncio.Task[int]:
        return asyncio.ensure_future(self.writer.write(insert(value)))

    def commits(self) -> int:
        return self.statements.count("COMMIT")

    def numbers(self) -> list[int]:
        connection = sqlite3.connect(self.path)
        try:
            return [value for (value,) in connection.execute("SELECT value FROM number ORDER BY value")]
        finally:
            connection.close()


def insert(value: int) -> Callable[[sqlite3.Connection], int]:
    def operation(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO number VALUES (?)", (value,))
        return value

    return operation


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "bench.db")
    yield bench
    bench.go_on.set()
    await bench.writer.close()


async def queued(bench: Bench, *values: int) -> list[asyncio.Task[int]]:
    """Writes that all wait behind one that is being made, and so make the next transaction."""
    held = await bench.hold()
    tasks = [bench.put(value) for value in values]
    await asyncio.sleep(0)  # the tasks run up to their waiting
    return [held, *tasks]


async def test_each_write_returns_its_own_result(bench: Bench) -> None:
    assert await asyncio.gather(*(bench.put(value) for value in range(50))) == list(range(50))
    assert bench.numbers() == list(range(50))


async def test_what_waits_is_written_in_one_transaction(bench: Bench) -> None:
    tasks = await queued(bench, *range(100))
    bench.go_on.set()
    await asyncio.gather(*tasks)
    assert bench.numbers() == list(range(100))
    assert bench.commits() == 2


async def test_a_transaction_has_a_limit(bench: Bench) -> None:
    tasks = await queued(bench, *range(2500))
    bench.go_on.set()
    await asyncio.gather(*tasks)
    assert bench.commits() == 4


async def test_one_that_can_t_be_written_fails_alone(bench: Bench) -> None:
    await bench.put(7)
    tasks = await queued(bench, 1, 7, 2**63, 2)
    bench.go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [-1, 1, 2]
    failures = [str(result) for result in results if isinstance(result, IndexFailedError)]
    assert failures[0].startswith("can't write to the bench: UNIQUE constraint failed")
    assert failures[1].startswith("can't write to the bench: Python int too large")
    assert bench.numbers() == [1, 2, 7]


async def test_a_failure_of_the_database_is_told_to_all_of_the_batch_and_undoes_it(bench: Bench) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM nowhere")

    held, *tasks = await queued(bench, 1, 2)
    failing = asyncio.ensure_future(bench.writer.write(fail))
    await asyncio.sleep(0)
    bench.go_on.set()
    assert await held == -1
    failures = await asyncio.gather(*tasks, failing, return_exceptions=True)
    assert {str(failure) for failure in failures} == {"can't write to the bench: no such table: nowhere"}
    assert failures[0] is not failures[1], "an exception belongs to one task"
    assert bench.numbers() == []


async def test_a_failure_of_the_code_doesn_t_end_the_writer(bench: Bench) -> None:
    def broken(_: sqlite3.Connection) -> None:
        raise KeyError("no such thing")

    with pytest.raises(IndexFailedError, match="no such thing"):
        await bench.writer.write(broken)
    await bench.put(1)
    assert bench.numbers() == [1]


async def test_a_failure_to_begin_is_told(bench: Bench) -> None:
    await bench.writer.write(lambda connection: connection.execute("PRAGMA busy_timeout = 0"))
    other = sqlite3.connect(bench.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(IndexFailedError, match="database is locked"):
        await bench.put(1)
    other.close()
    await bench.put(2)
    assert bench.numbers() == [2]


async def test_who_is_cancelled_doesn_t_take_the_write_back_nor_harm_the_others(bench: Bench) -> None:
    tasks = await queued(bench, 1, 2)
    tasks[1].cancel()
    bench.go_on.set()
    await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert tasks[2].result() == 2
    assert bench.numbers() == [1, 2]


async def test_closing_writes_what_waits(bench: Bench) -> None:
    tasks = await queued(bench, 1, 2)
    closing = asyncio.ensure_future(bench.writer.close())
    await asyncio.sleep(0)
    with pytest.raises(IndexFailedError, match="the index is closed"):
        await bench.writer.write(insert(3))
    bench.go_on.set()
    await closing
    assert await asyncio.gather(*tasks) == [-1, 1, 2]
    assert bench.numbers() == [1, 2]


def test_a_loop_that_ended_meanwhile_doesn_t_end_the_writer(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench.db")

    async def leave() -> None:
        tasks = await queued(bench, 1)
        for task in tasks:
            task.cancel()

    async def stay() -> None:
        bench.go_on.set()
        await bench.put(2)
        await bench.writer.close()

    asyncio.run(leave())
    asyncio.run(stay())
    assert bench.numbers() == [1, 2]
