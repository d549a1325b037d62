"""Watchdog: workers show that their event loops run, and the supervisor finds those that do not."""

from __future__ import annotations

import asyncio
import faulthandler
import mmap
import signal
from dataclasses import dataclass
from enum import Enum

# In seconds: the interval of the workers' beats and of the supervisor's checks.
INTERVAL = 1.0
# Checks without a beat after which a worker hangs. A worker that starts may first have to check a large index.
_MAX_MISSED = 10
_MAX_MISSED_AT_START = 300
# A worker that receives this signal prints what its threads do, and continues.
REPORT_THREADS = signal.SIGUSR2

_COUNTER = 8  # bytes


class Heartbeats:
    """One counter for each worker, in memory that the supervisor shares with its children."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, workers * _COUNTER)

    def count(self, number: int) -> int:
        """Return the number of beats of worker `number`, over all processes that had this number."""
        return int.from_bytes(self._memory[number * _COUNTER : (number + 1) * _COUNTER], "little")

    def beat(self, number: int) -> None:
        """Add a beat, in the worker."""
        raised = (self.count(number) + 1).to_bytes(_COUNTER, "little")
        self._memory[number * _COUNTER : (number + 1) * _COUNTER] = raised

    async def keep(self, number: int) -> None:
        """Add a beat every second, in the worker, until cancelled."""
        while True:
            self.beat(number)
            await asyncio.sleep(INTERVAL)


class State(Enum):
    """States of a worker, as the supervisor sees it."""

    ALIVE = "alive"
    HANGS = "hangs"  # for the first check
    STILL_HANGS = "still hangs"


@dataclass(slots=True)
class _Watched:
    seen: int
    missed: int = 0
    max_missed: int = _MAX_MISSED_AT_START

    @property
    def state(self) -> State:
        if self.missed < self.max_missed:
            return State.ALIVE
        return State.HANGS if self.missed == self.max_missed else State.STILL_HANGS


class Watchdog:
    """The supervisor's view of the heartbeats.

    It counts its checks instead of the time: after a pause of the whole service (a suspended machine, a frozen
    container) no worker is late.
    """

    def __init__(self, heartbeats: Heartbeats) -> None:
        self._heartbeats = heartbeats
        self._watched: dict[int, _Watched] = {}

    def watch(self, number: int) -> None:
        """Watch a process that is about to start as worker `number`."""
        self._watched[number] = _Watched(self._heartbeats.count(number))

    def forget(self, number: int) -> None:
        """Do not watch a worker that has ended, or ends."""
        self._watched.pop(number, None)

    def check(self) -> None:
        """Look for beats since the last check. Call it once per interval."""
        for number, watched in self._watched.items():
            count = self._heartbeats.count(number)
            if count == watched.seen:
                watched.missed += 1
            else:
                self._watched[number] = _Watched(count, max_missed=_MAX_MISSED)

    def state(self, number: int) -> State:
        """Return the state of a worker at the last check. One that is not watched is alive."""
        watched = self._watched.get(number)
        return watched.state if watched else State.ALIVE

    @property
    def all_alive(self) -> bool:
        """Return whether no watched worker hung at the last check."""
        return all(watched.state is State.ALIVE for watched in self._watched.values())


def report_threads_on_signal() -> None:
    """Make this process print the stacks of its threads to standard error when it receives `REPORT_THREADS`."""
    faulthandler.register(REPORT_THREADS, all_threads=True)
