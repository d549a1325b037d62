"""A blob that is coming in: how far it is, for everyone who reads it meanwhile."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

from registry_proxy.oci.errors import ErrorCode, RegistryError

if TYPE_CHECKING:
    from hashlib import _Hash

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Source


def duplicate(file: FileIO) -> FileIO:
    """Another handle on the open file; reading at explicit offsets, the two don't disturb each other."""
    return FileIO(os.dup(file.fileno()))


# Readers are woken no more often than this (seconds): each time costs, and there may be many of them.
_PACE = 0.02


@dataclass(frozen=True, slots=True)
class Spill:
    """Where the store took no more bytes, and the hash of all bytes before."""

    offset: int
    hasher: _Hash


class Fill:
    """The state of one incoming blob. One task drives it (`filler.Filler`), any number of bodies read it.

    `available` bytes are in the file. Until the digest is verified the last byte counts as not readable.
    """

    def __init__(self, digest: Digest, source: Source, size: int | None) -> None:
        self.digest = digest
        self.source = source
        self.size = size
        self.available = 0
        self.started = False
        self.verified = False
        self.spill: Spill | None = None
        self._error: Exception | None = None
        self._file: FileIO | None = None
        self._users = 1  # the driver
        self._waiting: list[asyncio.Future[None]] = []
        self._woken_at = 0.0
        self._wake_up: asyncio.TimerHandle | None = None

    # For readers.

    async def wait_started(self) -> None:
        """Until the upstream has answered and the size is known. Raises what ended the fill before."""
        self._raise_failure()
        while not (self.started and self.size is not None):
            await self._change()
            self._raise_failure()

    async def readable(self, offset: int) -> int:
        """Wait for bytes after `offset`, and tell up to where there are some; `offset` itself: the rest is not stored.

        Raises what ended the fill.
        """
        while True:
            limit = self._limit()
            if limit > offset:
                return limit
            self._raise_failure()
            if self.spill is not None:
                return offset
            await self._change()

    def view(self) -> FileIO:
        """A file of one's own on the incoming bytes."""
        assert self._file is not None, "nothing was written yet"
        return duplicate(self._file)

    def retain(self) -> None:
        """One more user: the file stays open until each has called `release`."""
        self._users += 1

    def release(self) -> None:
        """One user less."""
        self._users -= 1
        if self._users == 0 and self._file is not None:
            self._file.close()

    # For the driver.

    def attach(self, file: FileIO) -> None:
        """The file that the bytes are in; it is closed after the last user."""
        if self._file is not None:
            self._file.close()
        self._file = file

    def start(self, size: int | None) -> None:
        """The upstream has answered; `size` where it is known by now."""
        if size is None or self._keeps_promise(size):
            self.size = self.size if size is None else size
            self.started = True
            self._notify()

    def advance(self, available: int) -> None:
        """So many bytes are in the file now."""
        self.available = available
        loop = asyncio.get_running_loop()
        pause = self._woken_at + _PACE - loop.time()
        if pause <= 0:
            self._notify()
        elif self._wake_up is None:
            self._wake_up = loop.call_later(pause, self._notify)

    def verify(self) -> None:
        """All bytes are there and have the digest."""
        if self._keeps_promise(self.available):
            self.size = self.available
            self.verified = self.started = True
            self._notify()

    def stop_storing(self, spill: Spill) -> None:
        """The store takes no more: each reader fetches the rest for itself."""
        self.available = spill.offset
        self.spill = spill
        self._notify()

    def fail(self, error: Exception) -> None:
        """It won't be completed."""
        self._error = error
        self._notify()

    def _keeps_promise(self, size: int) -> bool:
        """Whether that is the size that readers were told, if they were; else it is over for them.

        An upstream that announces a wrong size, and then another one, makes them differ.
        """
        if self.size is None or self.size == size:
            return True
        text = f"{self.digest} has {size} bytes, and not the {self.size} that were announced; pull again"
        self.fail(RegistryError(ErrorCode.UPSTREAM_BROKEN, text))
        return False

    def _limit(self) -> int:
        if self.verified or self.size is None:
            return self.available if self.verified else 0
        return min(self.available, self.size - 1)

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise self._error

    async def _change(self) -> None:
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
