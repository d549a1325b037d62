"""The cache: its parts, wired to a store and an index."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.locks import NamedLocks, ProcessLocks
from registry_proxy.aio.tasks import SingleFlight
from registry_proxy.cache.access_times import AccessTimes
from registry_proxy.cache.blobs.blobs import Blobs
from registry_proxy.cache.blobs.download import Tools
from registry_proxy.cache.blobs.fills import Fills
from registry_proxy.cache.breakers import CircuitBreakers
from registry_proxy.cache.content import ContentStore
from registry_proxy.cache.evictor import Evictor
from registry_proxy.cache.index_collector import IndexCollector
from registry_proxy.cache.links import Links
from registry_proxy.cache.manifests.current import CurrentManifests
from registry_proxy.cache.manifests.intake import Intake
from registry_proxy.cache.manifests.listings import Catalog, Referrers, Tags
from registry_proxy.cache.manifests.manifests import Fetcher, Manifests
from registry_proxy.cache.manifests.revalidation import Revalidator
from registry_proxy.cache.manifests.store import ManifestStore
from registry_proxy.cache.recount import Recount
from registry_proxy.index.base import IndexFailedError
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.cache.results import ServedManifest
    from registry_proxy.index.base import Index
    from registry_proxy.observe.outages import Outages
    from registry_proxy.oci.reference import Digest
    from registry_proxy.policy.freshness import Freshness
    from registry_proxy.storage.base import BlobStore

log = logging.getLogger(__name__)

# Interval of writing access times, and of cleaning up the store, in seconds.
_FLUSH_EVERY = 30.0
_CLEAN_UP_EVERY = 3600.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks: `now` in Unix seconds, `monotonic` in seconds that never go back, and a sleep."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Cache:
    """The reads that the server offers: manifests, blobs, tags, referrers, catalog."""

    def __init__(  # noqa: PLR0913 - its ports, each once
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
        outages: Outages,
    ) -> None:
        locks = NamedLocks(process_locks)
        breakers = CircuitBreakers(timing.monotonic, outages)
        self._timing = timing
        self._access_times = AccessTimes(index, timing.now)
        self.evictor = Evictor(store, index, locks, self._access_times, max_size, timing.now)
        self._collector = IndexCollector(index, locks, rules.access_ttl, timing.now)
        self.recount = Recount(store, index, locks, timing.now)
        content = ContentStore(store, index, self._access_times, timing.now)
        links = Links(
            index, content, breakers, SingleFlight(background, ends_unbegun=True), rules, timing.now
        )

        tools = Tools(store, index, links, self.evictor, executor, timing.now)
        self.fills = Fills(tools, background, timing.now, timing.sleep)
        self.blobs = Blobs(content, links, self.fills, timing.sleep)

        requests: SingleFlight[ServedManifest] = SingleFlight(background, ends_unbegun=True)
        self._manifests = ManifestStore(store, content, self.evictor)
        intake = Intake(self._manifests, index, rules, timing.now)
        fetcher = Fetcher(
            index=index,
            breakers=breakers,
            current=CurrentManifests(timing.monotonic),
            intake=intake,
            store=self._manifests,
            links=links,
        )
        revalidator = Revalidator(
            index=index,
            store=self._manifests,
            links=links,
            breakers=breakers,
            locks=locks,
            single_flight=requests,
            rules=rules,
            clock=timing.now,
        )
        self.manifests = Manifests(
            store=self._manifests,
            fetcher=fetcher,
            revalidator=revalidator,
            links=links,
            locks=locks,
            single_flight=requests,
            clock=timing.now,
        )
        self.tags = Tags(index, breakers, SingleFlight(background, ends_unbegun=True))
        self.referrers = Referrers(index, breakers, intake, revalidator)
        self.catalog = Catalog(index)

    def touch(self, digest: Digest) -> None:
        """Record an access to content that the server sent from its memory."""
        self._access_times.touch(digest)

    def forget(self) -> None:
        """Drop the manifests in memory, because content was removed on demand."""
        self._manifests.forget()

    async def run_maintenance(self) -> None:
        """Write access times and clean up the store at intervals, until cancelled."""
        next_clean_up = self._timing.monotonic()
        try:
            while True:
                if self._timing.monotonic() >= next_clean_up:
                    await self._clean_up()
                    next_clean_up = self._timing.monotonic() + _CLEAN_UP_EVERY
                await self._timing.sleep(_FLUSH_EVERY)
                await self._access_times.flush()
        finally:
            await self._access_times.flush()

    async def _clean_up(self) -> None:
        try:
            await self.evictor.clean_up()
            await self._collector.collect()
        except (StoreError, IndexFailedError) as error:
            log.error("store maintenance failed: %s. Check the disk.", error)  # noqa: TRY400
