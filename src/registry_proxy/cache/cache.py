"""The cache: its parts, put together over a store, an index and any number of upstreams."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.locks import NamedLocks, ProcessLocks
from registry_proxy.aio.singleflight import SingleFlight
from registry_proxy.cache.access import Access
from registry_proxy.cache.blobs import Blobs
from registry_proxy.cache.contents import Contents
from registry_proxy.cache.evictor import Evictor
from registry_proxy.cache.filler import FillPorts
from registry_proxy.cache.fills import Fills
from registry_proxy.cache.guard import Guard
from registry_proxy.cache.listings import Catalog, Referrers, Tags
from registry_proxy.cache.manifest_store import ManifestStore
from registry_proxy.cache.manifests import Manifests
from registry_proxy.cache.named import ManifestPorts, NamedManifests
from registry_proxy.cache.uses import Uses
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
        guard = Guard(timing.monotonic)
        self._timing = timing
        self._uses = Uses(index, timing.now)
        self._evictor = Evictor(store, index, locks, self._uses, max_size, timing.now)
        access = Access(index, guard, SingleFlight(background), rules, timing.now)
        contents = Contents(store, index, self._uses, timing.now)
        self._stored_manifests = ManifestStore(store, contents, self._evictor)
        ports = ManifestPorts(
            index,
            self._stored_manifests,
            access,
            guard,
            locks,
            SingleFlight(background),
            rules,
            timing.now,
        )
        named = NamedManifests(ports)
        fills = Fills(FillPorts(store, index, self._evictor, executor), background, timing.now)
        self.manifests = Manifests(ports, named)
        self.blobs = Blobs(contents, access, fills, timing.sleep)
        self.tags = Tags(index, guard, SingleFlight(background))
        self.referrers = Referrers(index, guard, named)
        self.catalog = Catalog(index)

    def note_use(self, digest: Digest) -> None:
        """Content was served without asking the cache, from the server's memory."""
        self._uses.note(digest)

    def forget(self) -> None:
        """Something was removed on demand: nothing that is kept in memory counts any more."""
        self._stored_manifests.forget()

    async def keep_house(self) -> None:
        """Write uses and tidy the store now and then, until cancelled."""
        next_tidy = self._timing.monotonic()
        try:
            while True:
                if self._timing.monotonic() >= next_tidy:
                    await self._tidy()
                    next_tidy = self._timing.monotonic() + _TIDY_EVERY
                await self._timing.sleep(_FLUSH_EVERY)
                await self._uses.flush()
        finally:
            await self._uses.flush()

    async def _tidy(self) -> None:
        try:
            await self._evictor.tidy()
        except (StoreError, IndexFailedError) as error:
            log.error("the store was not tidied: %s. Check the disk.", error)  # noqa: TRY400
