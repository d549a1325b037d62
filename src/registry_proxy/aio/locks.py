"""Named locks between tasks and between processes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Pauses between two attempts to get a lock of another process, in seconds. They double from the first to the longest.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05


class ProcessLocks(Protocol):
    """Named locks between processes (`storage.locks.FileLocks`)."""

    def try_acquire(self, name: str) -> bool: ...
    def release(self, name: str) -> None: ...


class NamedLocks:
    """Named locks that hold between the tasks of this process and between processes."""

    def __init__(self, processes: ProcessLocks) -> None:
        self._processes = processes
        self._tasks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[bool]:
        """Hold the lock `name` for the block. Yield whether another task or process held it at first."""
        lock, holders = self._tasks.get(name, (asyncio.Lock(), 0))
        self._tasks[name] = (lock, holders + 1)
        try:
            waited = lock.locked()
            async with lock:
                waited |= await self._acquire(name)
                try:
                    yield waited
                finally:
                    self._processes.release(name)
        finally:
            lock, holders = self._tasks.pop(name)
            if holders > 1:
                self._tasks[name] = (lock, holders - 1)

    async def _acquire(self, name: str) -> bool:
        # The kernel wakes only blocked threads, so the locks of other processes are polled.
        pause = _FIRST_PAUSE
        while not self._processes.try_acquire(name):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return pause > _FIRST_PAUSE
