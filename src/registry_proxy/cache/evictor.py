"""Keeping the store within its budget, and making room on a full disk."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.policy.eviction import Candidate, excess, select_victims

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.cache.locks import Locks
    from registry_proxy.cache.uses import Uses
    from registry_proxy.index.base import Index
    from registry_proxy.oci.digest import Digest
    from registry_proxy.storage.base import BlobStore

log = logging.getLogger(__name__)

# One eviction looks at no more than this much content; the next one goes on.
_MOST_CANDIDATES = 10_000
# Transfers that nobody resumed are deleted after this time, in seconds.
_ABANDONED_AFTER = 24 * 3600.0


class Evictor:
    """Decides about disk space, one process at a time. `max_size` is in bytes, 0 stands for no limit."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: Locks,
        uses: Uses,
        max_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._uses = uses
        self._max_size = max_size
        self._clock = clock

    async def reserve(self, digest: Digest, size: int) -> bool:
        """Set `size` bytes aside for a fill of `digest`, evicting others; False when they can't fit.

        The reservation is the fill's lease: until it ends the digest is not evicted.
        """
        if self._max_size and size > self._max_size:
            return False
        async with self._locks.hold("evict"):
            leased = self._index.reserved()
            wanted = max(0, size - leased.get(digest, 0))
            if self._max_size:
                to_free = excess(self._index.used_bytes(), wanted, self._max_size)
                if not await self._evict(to_free, "the budget max_size is used up"):
                    return False
            await self._index.reserve(digest, size, self._clock())
        return True

    async def free(self, size: int) -> bool:
        """The disk is full before the budget is: evict `size` bytes; False when there is not so much to evict."""
        async with self._locks.hold("evict"):
            await self._remove_abandoned(0)
            return await self._evict(size, "the disk is full")

    async def tidy(self) -> None:
        """Delete interrupted transfers that nobody resumed, and come down to a budget that was lowered."""
        async with self._locks.hold("evict"):
            await self._remove_abandoned(_ABANDONED_AFTER)
            if self._max_size:
                await self._evict(
                    excess(self._index.used_bytes(), 0, self._max_size), "the budget is used up"
                )

    async def _evict(self, to_free: int, reason: str) -> bool:
        if to_free <= 0:
            return True
        await self._uses.flush()
        candidates = (
            Candidate(content.digest, content.size) for content in self._index.coldest(_MOST_CANDIDATES)
        )
        victims, freed = select_victims(candidates, to_free, self._index.reserved())
        if freed < to_free:
            return False
        # Row first, file second: a crash in between leaves a file to be found, never a row without one.
        await self._index.forget([victim.digest for victim in victims])
        await asyncio.to_thread(self._delete_all, [victim.digest for victim in victims])
        log.info("evicted %d items, %d bytes: %s", len(victims), freed, reason)
        return True

    def _delete_all(self, digests: list[Digest]) -> None:
        for digest in digests:
            self._store.delete(digest)

    async def _remove_abandoned(self, age: float) -> None:
        older_than = self._clock() - age
        for digest in await asyncio.to_thread(self._store.remove_abandoned_ingests, older_than):
            await self._index.release(digest)
