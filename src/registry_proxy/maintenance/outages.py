"""Outages of registries: recorded in the index for `status`, and logged once by all workers together."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.index.base import Index
    from registry_proxy.observe.outages import Failing, Outages

log = logging.getLogger(__name__)

# Longest time in seconds until a worker notices that it could end an outage which another worker has recorded.
_INTERVAL = 5.0


class OutageLog:
    """Task that records the outages that this worker sees. The first worker that sees a change logs it."""

    def __init__(self, index: Index, outages: Outages, clock: Callable[[], float]) -> None:
        self._index = index
        self._outages = outages
        self._clock = clock
        self._recorded: dict[str, Failing] = {}

    async def run(self) -> None:
        """Record changes at once, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_INTERVAL):
                    await self._outages.changed.wait()
            except TimeoutError:
                pass
            self._outages.changed.clear()
            try:
                await self._record()
            except IndexFailedError as error:
                log.warning("outages not recorded, `status` does not show them: %s", error)

    async def _record(self) -> None:
        failing = dict(self._outages.failing)
        for registry, each in failing.items():
            if self._recorded.get(registry) == each:
                continue
            if await self._index.begin_outage(registry, each.since, each.retry_at, each.cause):
                log.warning(
                    "%s is failing: %s. Cached images are served; the next attempt is at %s.",
                    *(registry, each.cause, _text(each.retry_at)),
                )
        self._recorded = failing
        # Also outages that a worker recorded which has ended since then.
        responding = self._outages.take_responding()
        for outage in self._index.outages():
            if outage.registry in responding:
                since = await self._index.end_outage(outage.registry)
                if since is not None:
                    log.warning("%s responds again, after %.0f s", outage.registry, self._clock() - since)


def _text(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S %Z}"
