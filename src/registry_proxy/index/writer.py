"""The writer thread. Operations that are queued while a transaction runs share the next transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import suppress
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from registry_proxy.aio.pools import SURVEYS
from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

# Limits how long a write waits for earlier ones, and how long other processes wait for the lock.
_MAX_BATCH = 1000


class _Write(NamedTuple):
    operation: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


class BatchingWriter:
    """Runs operations on `connection` in one thread. Errors refer to the index as `name`.

    The connection must be in autocommit mode. The writer closes it on shutdown. If the disk is full, the writer calls
    `make_room` and retries the batch once, so operations must be repeatable. `note` is called with each error of the
    database, in the writer's thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        make_room: Callable[[], None],
        note: Callable[[sqlite3.Error], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._name = name
        self._make_room = make_room
        self._note = note
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    async def write(self, operation: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `operation` in a transaction, and return its result once that is committed.

        Raise IndexFailedError. Cancelling the caller does not cancel the write.
        """
        if self._closed:
            raise IndexFailedError(f"can't write to {self._name}: the index is closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write(operation, future))
        return await future

    async def close(self) -> None:
        """Write what is queued, then end the thread. A second call only waits."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await SURVEYS.run(self._thread.join)

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._next_batch()
            if batch:
                self._settle_batch(batch)
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Write], bool]:
        """Return the queued writes, after waiting for the first one, and whether more may follow."""
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
        except Exception as error:  # noqa: BLE001 - if the thread died, later writes would wait for ever
            if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
                # One of the writes always fails. It must not affect the others.
                for write in batch:
                    self._settle_batch([write])
                return
            if isinstance(error, sqlite3.Error):
                self._note(error)
            failure = f"can't write to {self._name}: {error}"
        outcomes = zip((write.future for write in batch), results, strict=True)
        for loop, settled in groupby(outcomes, key=lambda outcome: outcome[0].get_loop()):
            # In a closed loop, no caller is waiting.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, list(settled), failure)

    def _commit_with_room(self, batch: list[_Write]) -> list[Any]:
        try:
            return self._commit(batch)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                raise
        self._make_room()
        # Then the write-ahead log is overwritten from its beginning, without growing.
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
