"""Measurement of the pauses of an event loop: how long one callback kept all others waiting."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_INTERVAL = 0.001


@dataclass
class Pauses:
    """The longest pause so far, in seconds.

    `longest` is what a client waits. `busy` is the most processor time that the process used in a pause, in any thread:
    on a machine that does much else, only this is the doing of the code under test.
    """

    longest: float = 0.0
    busy: float = 0.0

    def __str__(self) -> str:
        return f"{self.longest * 1000:.0f} ms, of which {self.busy * 1000:.0f} ms of processor time"


@asynccontextmanager
async def measured_pauses() -> AsyncIterator[Pauses]:
    """Measure the running loop during the block.

    The objects of all tests before are left out of garbage collections: the server does not have them.
    """
    pauses = Pauses()
    gc.collect()
    gc.freeze()
    task = asyncio.create_task(_measure(pauses))
    try:
        yield pauses
    finally:
        task.cancel()
        await asyncio.wait([task])
        gc.unfreeze()


async def _measure(pauses: Pauses) -> None:
    while True:
        began, busy = time.perf_counter(), time.process_time()
        await asyncio.sleep(_INTERVAL)
        pauses.longest = max(pauses.longest, time.perf_counter() - began - _INTERVAL)
        pauses.busy = max(pauses.busy, time.process_time() - busy)
