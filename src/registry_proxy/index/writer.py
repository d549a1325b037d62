"""The one thread of a process that writes: what is queued while a transaction runs makes the next one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import suppress
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

# Bounds how long a write waits for those before it, and other processes for the lock.
_MAX_BATCH = 1000


class _Write(NamedTuple):
    operation: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


class BatchingWriter:
    """Runs operations on `connection` in a thread of its own; `name` is what errors call the index.

    The connection must be in autocommit mode. The writer closes it at its end. On a full disk `make_room` is called,
    and the batch is tried once more: operations must bear to be run twice.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, make_room: Callable[[], None]) -> None:
        self._connection = connection
        self._name = name
        self._make_room = make_room
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    async def write(self, operation: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `operation` in a transaction; returns what it returns, once that is committed.

        Raises IndexFailedError. Who is cancelled while waiting doesn't take the write back.
        """
        if self._closed:
            raise IndexFailedError(f"can't write to {self._name}: it is closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write(operation, future))
        return await future

    async def close(self) -> None:
        """Write what is queued, then end the thread; a second call only waits."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._next_batch()
            if batch:
                self._settle_batch(batch)
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Write], bool]:
        """What waits now, at least one write; and whether more may follow."""
        batch: list[_Write] = []
        while (write := self._queue.get()) is not None:
            batch.append(write)
            if len(batch) == _MAX_BATCH or self._queue.empty():
                return batch, True
        return batch, False

    def _settle_batch(self, batch: list[_Write]) -> None:
        results: list[Any] = [None] * len(batch)
        failure = None
        try:
            results = self._commit_with_room(batch)
        except Exception as error:  # noqa: BLE001 - a thread that died of one batch would leave all later ones waiting
            if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
                # One of them can't be written, ever: it must not harm the others.
                for write in batch:
                    self._settle_batch([write])
                return
            failure = f"can't write to {self._name}: {error}"
        outcomes = zip((write.future for write in batch), results, strict=True)
        for loop, settled in groupby(outcomes, key=lambda outcome: outcome[0].get_loop()):
            # A loop that was closed has nobody left who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, list(settled), failure)

    def _commit_with_room(self, batch: list[_Write]) -> list[Any]:
        try:
            return self._commit(batch)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                raise
        self._make_room()
        # The write-ahead log is then written from its beginning again, in the space that it has.
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        return self._commit(batch)

    def _commit(self, batch: list[_Write]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [write.operation(self._connection) for write in batch]
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.rollback()
            raise
        return results


def _settle(outcomes: list[tuple[asyncio.Future[Any], Any]], failure: str | None) -> None:
    for future, result in outcomes:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(IndexFailedError(failure))
