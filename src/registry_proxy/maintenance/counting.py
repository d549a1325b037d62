"""From the workers' counters to the index."""

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

_FLUSH_EVERY = 5.0  # seconds


class Counting:
    """Adds what this worker counted to what all have. A crash loses a few seconds of it."""

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
        """Write now and then, until cancelled."""
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
            self._counters.put_back(counts)
            log.warning("what was counted is not written yet: %s", error)
