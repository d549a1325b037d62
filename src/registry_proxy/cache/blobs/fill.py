"""State of a running fill: one blob download, shared by the task that writes it and the clients that read it."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

from registry_proxy.oci.errors import ErrorCode, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from registry_proxy.oci.reference import Digest, Source

log = logging.getLogger(__name__)

# Minimum time between two wake-ups of the readers, in seconds: each wake-up costs time for every reader.
_MIN_WAKE_INTERVAL = 0.02


def duplicate(file: FileIO) -> FileIO:
    """Return a second handle on the open file. Both read at explicit offsets and do not affect each other."""
    return FileIO(os.dup(file.fileno()))


@dataclass(frozen=True, slots=True)
class StoreStopped:
    """The offset at which storing stopped, and the hash state of all bytes before it."""

    offset: int
    hasher: _Hash


class Fill:
    """State of one blob download. One task writes it (`Download`), any number of bodies read it.

    `available` is the number of bytes in the file. The last byte is not readable until the digest is verified. `size`
    is announced to readers, so it cannot change. `expected` is a size that could still be wrong.
    """

    def __init__(self, digest: Digest, source: Source) -> None:
        self.digest = digest
        self.source = source
        self.size: int | None = None
        self.expected: int | None = None
        self.available = 0
        self.started = False
        self.verified = False
        self.stopped: StoreStopped | None = None
        self.file: FileIO | None = None
        self.ended = asyncio.Event()
        self._error: Exception | None = None
        self._users = 1  # the task that writes
        self.has_begun = False
        # Called when the last reader has left.
        self.on_deserted: Callable[[], None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._woken_at = 0.0
        self._wake_up: asyncio.TimerHandle | None = None

    def __str__(self) -> str:
        return f"{self.source}@{self.digest}"

    # Reader interface.

    async def wait_started(self, wait_limit: float) -> None:
        """Wait until the upstream has responded and the size is known. Raise the error if the fill has failed.

        After `wait_limit` seconds the expected size is enough.
        """
        try:
            async with asyncio.timeout(wait_limit):
                while not (self.started and self.size is not None):
                    await self._change()
        except TimeoutError:
            while self.size is None:
                self.size = self.expected
                if self.size is None:
                    await self._change()
            log.warning("%s: the upstream is slow, sending the headers before its response", self)
        if self._error is not None:
            raise self._error

    async def readable(self, offset: int) -> int:
        """Wait for bytes after `offset` and return the end of the readable range.

        Return `offset` if storing stopped there. Raise the error if the fill has failed.
        """
        while True:
            if self.verified:
                limit = self.available
            else:
                limit = min(self.available, self.size - 1) if self.size is not None else 0
            if limit > offset or (self.stopped is not None and self._error is None):
                return max(limit, offset)
            await self._change()

    @property
    def is_deserted(self) -> bool:
        """Return whether no reader is left."""
        return self._users == 1

    def retain(self) -> None:
        """Add a user. The file stays open until every user has called `release`."""
        self._users += 1

    def release(self) -> None:
        """Remove a user. The last one closes the file."""
        self._users -= 1
        if self._users == 1 and not self.ended.is_set() and self.on_deserted is not None:
            self.on_deserted()
        if self._users == 0 and self.file is not None:
            self.file.close()

    # Writer interface.

    def attach(self, file: FileIO) -> None:
        """Set the file that holds the bytes and close the previous one. The last user closes it."""
        if self.file is not None:
            self.file.close()
        self.file = file

    def start(self, size: int | None) -> None:
        """Record that the upstream has responded, and the size if it is known."""
        if size is None or self._matches_size(size):
            self.size = self.size if size is None else size
            self.started = True
            self._notify()

    def advance(self, available: int) -> None:
        """Set the number of bytes in the file and wake the readers."""
        self.available = available
        loop = asyncio.get_running_loop()
        pause = self._woken_at + _MIN_WAKE_INTERVAL - loop.time()
        if pause <= 0:
            self._notify()
        elif self._wake_up is None:
            self._wake_up = loop.call_later(pause, self._notify)

    def verify(self) -> None:
        """Mark the blob as complete, with its digest verified."""
        if self._matches_size(self.available):
            self.size = self.available
            self.verified = self.started = True
            self._notify()

    def stop_storing(self, stopped: StoreStopped) -> None:
        """Record that the store accepts no more bytes. Each reader downloads the rest itself."""
        self.available = stopped.offset
        self.stopped = stopped
        self._notify()

    def fail(self, error: Exception) -> None:
        """End the fill with `error`."""
        self._error = error
        self._notify()

    def _matches_size(self, size: int) -> bool:
        """Return whether `size` equals the size announced to readers, if any. Otherwise fail the fill.

        An upstream that announces a wrong size, and then another one, makes them differ.
        """
        if self.size is None or self.size == size:
            return True
        text = f"{self.digest} has {size} bytes instead of the {self.size} that were announced; pull again"
        self.fail(RegistryError(ErrorCode.UPSTREAM_BROKEN, text))
        return False

    async def _change(self) -> None:
        """Wait for the next change. Raise the error if the fill has failed."""
        if self._error is not None:
            raise self._error
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _notify(self) -> None:
        if self._wake_up is not None:
            self._wake_up.cancel()
            self._wake_up = None
        self._woken_at = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
