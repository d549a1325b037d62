"""Writing and hashing of a blob in a thread, while its next bytes arrive."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from hashlib import _Hash
    from io import FileIO

    from registry_proxy.storage.base import Ingest
    from registry_proxy.upstream.base import Chunk

# A hop to a thread costs about 100 µs: it gets batches of this many bytes, or what has arrived after this many seconds.
_BATCH = 2 * 1024 * 1024
_LONGEST_DELAY = 0.02
# At most this many bytes wait in memory: the transfer pauses until the disk has caught up.
_LIMIT = 4 * 1024 * 1024
_READ_SIZE = 1024 * 1024


class IngestWriter:
    """Writer of one ingest: it appends chunks in order and hashes the bytes in the file.

    `hasher` has seen the first `hashed` bytes. After each batch, `on_written` is called in the loop with the size of
    the ingest.
    """

    def __init__(self, ingest: Ingest, executor: Executor, on_written: Callable[[int], None]) -> None:
        self.hasher: _Hash = ingest.digest.hasher()
        self.hashed = 0
        self._ingest = ingest
        self._executor = executor
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._job: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None

    async def hash_existing(self) -> None:
        """Hash the bytes that an earlier process left in the ingest; the transfer resumes after them.

        Raise StoreError.
        """
        await self._loop.run_in_executor(self._executor, self._hash_existing)
        self.hashed = self._ingest.size
        self._on_written(self.hashed)

    async def put(self, chunk: Chunk) -> None:
        """Accept a chunk. Wait while too much is pending. Raise StoreError (then see `retry`)."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self._start_soon()
        if self._error is not None:
            raise self._error
        while self._pending_bytes >= _LIMIT:
            await self._settled()

    async def flush(self) -> None:
        """Wait until everything is written and hashed. Raise StoreError (then see `retry`)."""
        self._start()
        while self._job is not None:
            await self._settled()
            self._start()
        if self._error is not None:
            raise self._error

    async def retry(self) -> None:
        """Write the pending chunks again after a StoreError. Raise StoreError."""
        self._error = None
        await self.flush()

    async def abandon(self) -> None:
        """Drop the pending chunks, and wait for the batch in the thread: nothing touches the ingest afterwards."""
        self._pending = []
        self._pending_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._job is not None:
            await asyncio.wait([self._job])

    def _start_soon(self) -> None:
        if self._pending_bytes >= _BATCH:
            self._start()
        elif self._pending and self._timer is None:
            self._timer = self._loop.call_later(_LONGEST_DELAY, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._job is None and self._pending and self._error is None:
            chunks, self._pending = self._pending, []
            self._job = self._loop.run_in_executor(self._executor, self._write, chunks)
            self._job.add_done_callback(partial(self._finish, chunks))

    def _write(self, chunks: list[Chunk]) -> None:
        # Each chunk is hashed while it is still in the processor's cache.
        for chunk in chunks:
            before = self._ingest.size
            try:
                self._ingest.append([chunk])
            finally:
                self.hasher.update(memoryview(chunk)[: self._ingest.size - before])

    def _finish(self, chunks: list[Chunk], job: asyncio.Future[None]) -> None:
        self._job = None
        if not job.cancelled():
            self._error = job.exception()  # type: ignore[assignment]  # the thread raises no BaseException
        written = self._ingest.size - self.hashed
        self.hashed += written
        if self._error is not None:
            self._pending[:0] = _bytes_after(chunks, written)
        self._pending_bytes -= written
        self._on_written(self._ingest.size)
        # Also start a rest smaller than a batch: its delay may have passed while the thread was busy.
        self._start_soon()

    async def _settled(self) -> None:
        if self._job is None:
            self._start()
        if self._job is not None:
            await asyncio.wait([self._job])
        if self._error is not None:
            raise self._error

    def _hash_existing(self) -> None:
        try:
            with self._ingest.view() as file:
                hash_beginning(file, self._ingest.size, self.hasher)
        except OSError as error:
            self.hasher = self._ingest.digest.hasher()
            raise StoreError(f"cannot read the ingest of {self._ingest.digest}: {error.strerror}") from error


def hash_beginning(file: FileIO, length: int, hasher: _Hash) -> None:
    """Hash the first `length` bytes of the file without moving its position, which may be shared. Blocks."""
    offset = 0
    while offset < length and (block := os.pread(file.fileno(), min(_READ_SIZE, length - offset), offset)):
        hasher.update(block)
        offset += len(block)


def _bytes_after(chunks: list[Chunk], count: int) -> list[Chunk]:
    rest: list[Chunk] = []
    for chunk in chunks:
        if count < len(chunk):
            rest.append(chunk[count:])
        count = max(0, count - len(chunk))
    return rest
