"""Writing of a worker's counters to the index."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.index.base import Index
    from registry_proxy.observe.counters import Counters

log = logging.getLogger(__name__)

# Interval of writing counters, in seconds.
_FLUSH_EVERY = 5.0


class Counting:
    """Task that adds this worker's counts to those of all workers. A crash loses the counts of at most 5 s."""

    def __init__(
        self,
        index: Index,
        counters: Counters,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._index = index
        self._counters = counters
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Write the counts every 5 s, until cancelled, and once more at the end."""
        try:
            while True:
                await self._sleep(_FLUSH_EVERY)
                await self._flush()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        counts = self._counters.take()
        if not counts:
            return
        try:
            await self._index.count(counts, self._clock())
        except IndexFailedError as error:
            self._counters.restore(counts)
            log.warning("counters not written, they are kept for the next attempt: %s", error)
