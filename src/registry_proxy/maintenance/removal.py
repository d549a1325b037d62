"""Removal of images on demand, with or without a running server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.cache.evictor import EVICTION
from registry_proxy.index.base import IndexFailedError
from registry_proxy.policy.removal import everything, select_removal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.index.base import Index, IndexReads
    from registry_proxy.oci.reference import Digest, Reference, Source
    from registry_proxy.policy.removal import Removal
    from registry_proxy.storage.base import BlobStore

# How often a worker checks for removals, in seconds.
_CHECK_EVERY = 1.0
# Time after which every worker has noticed a removal, in seconds.
_SEEN_AFTER = 1.5


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """The removal from each repository, and the content that no other repository holds, with sizes in bytes."""

    removals: Mapping[Source, Removal]
    freed: Mapping[Digest, int]


def plan_removal(index: IndexReads, wanted: Mapping[Source, Sequence[Reference]]) -> RemovalPlan:
    """Return the plan that removes these references of each repository, or the whole repository without references.

    Raise IndexFailedError.
    """
    removals = {}
    for source, references in wanted.items():
        holdings = index.holdings(source)
        removals[source] = select_removal(holdings, references) if references else everything(holdings)
    leaving: dict[Digest, set[Source]] = {}
    for source, removal in removals.items():
        for digest in removal.digests:
            leaving.setdefault(digest, set()).add(source)
    freed = {}
    for digest, sources in leaving.items():
        content = index.content(digest)
        if content is not None and sources.issuperset(index.holders(digest)):
            freed[digest] = content.size
    return RemovalPlan(removals, freed)


class Remover:
    """Execution of removal plans. `has_workers` returns whether a server runs on this store."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: NamedLocks,
        has_workers: Callable[[], bool],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._has_workers = has_workers
        self._sleep = sleep

    async def run(self, plan: RemovalPlan) -> None:
        """Remove the content of the plan. On return, a running server has only what was pulled again since.

        A crash in between leaves files without a row, which `verify` finds. Raise IndexFailedError or StoreError.
        """
        orphans: list[Digest] = []
        for source, removal in plan.removals.items():
            orphans += await self._index.remove(source, removal)
        if self._has_workers():
            await self._sleep(_SEEN_AFTER)
        async with self._locks.hold(EVICTION):
            await asyncio.to_thread(self._delete, [each for each in orphans if not self._index.content(each)])

    def _delete(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._store.delete(digest)


async def follow_removals(
    index: IndexReads, forget: Callable[[], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Call `forget` in a worker within a second after each removal, until cancelled."""
    seen = index.removals
    while True:
        await sleep(_CHECK_EVERY)
        with suppress(IndexFailedError):  # the next request that needs the index reports the error
            removals = index.removals
            if removals != seen:
                seen = removals
                forget()
