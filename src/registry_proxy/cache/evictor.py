"""Eviction: it keeps the store within its budget, and frees space on a full disk."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import HOUSEKEEPING
from registry_proxy.policy.eviction import Candidate, Excess, counted_index, excess, select_victims
from registry_proxy.policy.freshness import CLOCK_TOLERANCE
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.cache.access_times import AccessTimes
    from registry_proxy.index.base import Index
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.storage.base import BlobStore

log = logging.getLogger(__name__)

# The lock under which content is removed: while a process holds it, rows and files of content agree.
EVICTION = "evict"

# Content items per step of an eviction, so that neither the loop nor the index is blocked for long: 10,000 items would
# hold the loop for 0.15 s.
_MOST_CANDIDATES = 1_000
# Ingests that no process has resumed are deleted after this time, in seconds.
_ABANDONED_AFTER = 24 * 3600.0
_BUDGET_IS_USED = "the budget max_size is used up"


class Evictor:
    """Reservation and eviction of disk space, by one process at a time. `max_size` is in bytes; 0 means no limit."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: NamedLocks,
        access_times: AccessTimes,
        max_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._access_times = access_times
        self._max_size = max_size
        self._clock = clock
        self._growing: dict[Digest, int] = {}  # sizes in bytes

    async def reserve(self, digest: Digest, size: int, source: Source | None = None) -> bool:
        """Reserve `size` bytes for `digest`, evicting other content. Return False if they cannot fit.

        `source` is the repository of a fill.

        The reservation is the fill's lease: until it ends, the digest is not evicted. Raise StoreError or
        IndexFailedError.
        """
        if self._max_size and size > self._max_size:
            return False
        async with self._locks.hold(EVICTION):
            if self._max_size and not await self._make_room(digest, size):
                return False
            await self._index.reserve(digest, size, self._clock(), source)
        return True

    async def grow(self, digest: Digest, size: int) -> bool:
        """Make room for a fill of unknown size that has `size` bytes by now. Return False if they cannot fit.

        Other processes would read the size of the blob from a reservation. Call `end_growth` at the end.
        """
        if not self._max_size:
            return True
        if size > self._max_size:
            return False
        async with self._locks.hold(EVICTION):
            if not await self._make_room(digest, size):
                return False
            self._growing[digest] = size
        return True

    def end_growth(self, digest: Digest) -> None:
        """End what `grow` has begun, if it has."""
        self._growing.pop(digest, None)

    async def free(self, size: int) -> bool:
        """Evict `size` bytes, because the disk is full before the budget is. Return False if less can be evicted."""
        async with self._locks.hold(EVICTION):
            await self._remove_abandoned(0)
            return await self._evict(Excess(size, size), "the disk is full")

    async def clean_up(self) -> None:
        """Remove the leftovers of processes that died, and evict down to a budget that was lowered.

        Raise StoreError or IndexFailedError.
        """
        async with self._locks.hold(EVICTION):
            await self._remove_abandoned(_ABANDONED_AFTER)
            await self._settle_reservations(of_stored=True)
            await self._index.limit_access_times(self._clock() + CLOCK_TOLERANCE)
            if self._max_size:
                await self._evict(excess(self._used_bytes(), 0, self._max_size), _BUDGET_IS_USED)

    async def _make_room(self, digest: Digest, size: int) -> bool:
        if await self._fit(digest, size):
            return True
        # Reservations of interrupted transfers give way to a transfer that runs now.
        await self._remove_abandoned(0)
        await self._settle_reservations(of_stored=False)
        return await self._fit(digest, size)

    async def _fit(self, digest: Digest, size: int) -> bool:
        row = self._index.content(digest)
        counted = row.size if row else self._index.reserved().get(digest, 0)
        wanted = max(0, size - counted)
        surplus = excess(self._used_bytes(), wanted, self._max_size)
        return await self._evict(surplus, _BUDGET_IS_USED, spared=digest)

    async def _evict(self, surplus: Excess, reason: str, *, spared: Digest | None = None) -> bool:
        """Free at least `needed` bytes, up to `wished`. Free nothing and return False if `needed` cannot be reached."""
        if surplus.needed <= 0:
            return True
        await self._access_times.flush()
        await self._index.limit_access_times(self._clock() + CLOCK_TOLERANCE)
        kept = {*self._index.reserved(), *([spared] if spared else [])}
        if self._evictable(kept) < surplus.needed:
            return False
        freed = count = 0
        while freed < surplus.target:
            oldest = self._index.least_recently_used(_MOST_CANDIDATES + len(kept))
            candidates = (Candidate(each.digest, each.size) for each in oldest)
            victims, size = select_victims(candidates, surplus.target - freed, kept)
            if not victims:
                break
            await self._remove(victims)
            freed, count = freed + size, count + len(victims)
        log.info("evicted %d items, %d bytes: %s", count, freed, reason)
        return freed >= surplus.needed

    def _used_bytes(self) -> int:
        """Return the bytes that count towards the budget: content, reservations, and a large index."""
        return self._index.used_bytes() + counted_index(self._index.file_bytes())

    def _evictable(self, kept: Iterable[Digest]) -> int:
        """Return the bytes of all content except the `kept` digests."""
        reserved = self._index.reserved()
        rows = {digest: self._index.content(digest) for digest in kept}
        sizes = (row.size if row else reserved.get(digest, 0) for digest, row in rows.items())
        return self._index.used_bytes() - sum(sizes)

    async def _remove(self, victims: list[Candidate]) -> None:
        # Row first, file second. A crash in between leaves files without a row, which are found by the reservations.
        digests = [victim.digest for victim in victims]
        now = self._clock()
        await asyncio.gather(*(self._index.reserve(victim.digest, victim.size, now) for victim in victims))
        await self._index.forget(digests)
        await HOUSEKEEPING.run(self._delete_all, digests)
        await asyncio.gather(*(self._index.release(digest) for digest in digests))

    def _delete_all(self, digests: list[Digest]) -> None:
        for digest in digests:
            try:
                self._store.delete(digest)
            except StoreError as error:
                log.error("evicted content not deleted from the disk: %s. Check the disk.", error)  # noqa: TRY400

    async def _remove_abandoned(self, age: float) -> None:
        """Delete ingests that no process has resumed for `age` seconds."""
        now = self._clock()
        older_than, newer_than = now - age, now + CLOCK_TOLERANCE
        removed = await HOUSEKEEPING.run(self._store.remove_abandoned_ingests, older_than, newer_than)
        for digest in removed:
            await self._index.release(digest)

    async def _settle_reservations(self, *, of_stored: bool) -> None:
        """End reservations without an ingest, of processes that died between a file and its row, or could not write.

        With `of_stored`, also those of stored content. A process can be between file and row at this moment. Without a
        reservation another process could evict the content, and its row would then be recorded without a file. So only
        the rare maintenance does this: these reservations take no bytes beyond those of the content.
        """
        for digest in list(self._index.reserved()):
            transfer = self._store.follow(digest)
            if transfer is not None:
                transfer.close()
                continue
            stored = self._store.open(digest)
            if stored is not None:
                stored.close()
                if not of_stored:
                    continue
                await self._index.adopt([(digest, stored.size)], self._clock())
            await self._index.release(digest)
