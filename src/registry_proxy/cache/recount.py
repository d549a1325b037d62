"""Counting of the store next to running requests: after a power loss the index may lack its last writes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import HOUSEKEEPING
from registry_proxy.cache.evictor import EVICTION
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.index.base import Index
    from registry_proxy.oci.reference import Digest
    from registry_proxy.storage.base import BlobStore

# Files per step: the event loop and the eviction wait for one step at most.
_STEP = 500


class Recount:
    """Comparison of the store's files with the index. `clock` returns Unix seconds.

    Rows without a file need no search: a deletion that the power loss undid concerns the least recently used content,
    whose rows the next eviction removes.
    """

    def __init__(self, store: BlobStore, index: Index, locks: NamedLocks, clock: Callable[[], float]) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._clock = clock

    async def run(self) -> tuple[int, int]:
        """Record all files that the index does not know. Return the number of files, and that of unknown ones.

        Raise StoreError or IndexFailedError.
        """
        files = unknown = 0
        walk = self._store.walk()
        while step := await HOUSEKEEPING.run(_next_step, walk):
            files += len(step)
            unknown += await self._adopt(step)
        return files, unknown

    async def _adopt(self, step: list[tuple[Digest, int]]) -> int:
        if all(self._is_counted(*item) for item in step):
            return 0
        # With the lock, rows and files agree: no process evicts, and what was evicted since the listing is gone.
        async with self._locks.hold(EVICTION):
            uncounted = [item for item in step if not self._is_counted(*item) and self._exists(*item)]
            await self._index.adopt(uncounted, self._clock())
        return len(uncounted)

    def _is_counted(self, digest: Digest, size: int) -> bool:
        row = self._index.content(digest)
        return row is not None and row.size == size

    def _exists(self, digest: Digest, size: int) -> bool:
        try:
            stored = self._store.open(digest)
        except StoreError:
            return True  # unreadable, but it takes space
        if stored is None:
            return False
        stored.close()
        return stored.size == size


def _next_step(walk: Iterator[tuple[Digest, int]]) -> list[tuple[Digest, int]]:
    return list(islice(walk, _STEP))
