"""The cache: its parts, put together over a store, an index and any number of upstreams."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.locks import NamedLocks, ProcessLocks
from registry_proxy.aio.singleflight import SingleFlight
from registry_proxy.cache.access_times import AccessTimes
from registry_proxy.cache.blobs.blobs import Blobs
from registry_proxy.cache.blobs.filler import FillPorts
from registry_proxy.cache.blobs.fills import Fills
from registry_proxy.cache.breakers import CircuitBreakers
from registry_proxy.cache.content import ContentStore
from registry_proxy.cache.evictor import Evictor
from registry_proxy.cache.links import Links
from registry_proxy.cache.manifests.listings import Catalog, Referrers, Tags
from registry_proxy.cache.manifests.manifests import Manifests
from registry_proxy.cache.manifests.revalidation import ManifestPorts, Revalidator
from registry_proxy.cache.manifests.store import ManifestStore
from registry_proxy.index.base import IndexFailedError
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.index.base import Index
    from registry_proxy.oci.digest import Digest
    from registry_proxy.policy.freshness import Freshness
    from registry_proxy.storage.base import BlobStore

log = logging.getLogger(__name__)

# Seconds between two writes of what was used, and between two looks for leftovers.
_FLUSH_EVERY = 30.0
_TIDY_EVERY = 3600.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks: `now` in Unix seconds, `monotonic` in seconds that only go forward, and a sleep."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Cache:
    """What the server asks: manifests, blobs, tags, referrers, catalog."""

    def __init__(  # noqa: PLR0913  its ports, each once
        self,
        *,
        store: BlobStore,
        index: Index,
        process_locks: ProcessLocks,
        background: BackgroundTasks,
        executor: Executor,
        rules: Freshness,
        max_size: int,
        timing: Timing,
    ) -> None:
        locks = NamedLocks(process_locks)
        breakers = CircuitBreakers(timing.monotonic)
        self._timing = timing
        self._access_times = AccessTimes(index, timing.now)
        self._evictor = Evictor(store, index, locks, self._access_times, max_size, timing.now)
        access = Links(index, breakers, SingleFlight(background), rules, timing.now)
        content_store = ContentStore(store, index, self._access_times, timing.now)
        self._stored_manifests = ManifestStore(store, content_store, self._evictor)
        ports = ManifestPorts(
            index,
            self._stored_manifests,
            access,
            breakers,
            locks,
            SingleFlight(background),
            rules,
            timing.now,
        )
        revalidator = Revalidator(ports)
        fills = Fills(FillPorts(store, index, self._evictor, executor), background, timing.now)
        self.manifests = Manifests(ports, revalidator)
        self.blobs = Blobs(content_store, access, fills, timing.sleep)
        self.tags = Tags(index, breakers, SingleFlight(background))
        self.referrers = Referrers(index, breakers, revalidator)
        self.catalog = Catalog(index)

    def touch(self, digest: Digest) -> None:
        """Content was served without asking the cache, from the server's memory."""
        self._access_times.touch(digest)

    def forget(self) -> None:
        """Something was removed on demand: nothing that is kept in memory counts any more."""
        self._stored_manifests.forget()

    async def run_maintenance(self) -> None:
        """Write access times and clean up the store at intervals, until cancelled."""
        next_tidy = self._timing.monotonic()
        try:
            while True:
                if self._timing.monotonic() >= next_tidy:
                    await self._tidy()
                    next_tidy = self._timing.monotonic() + _TIDY_EVERY
                await self._timing.sleep(_FLUSH_EVERY)
                await self._access_times.flush()
        finally:
            await self._access_times.flush()

    async def _tidy(self) -> None:
        try:
            await self._evictor.clean_up()
        except (StoreError, IndexFailedError) as error:
            log.error("the store was not tidied: %s. Check the disk.", error)  # noqa: TRY400
