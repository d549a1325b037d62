"""What is cached, what it has been good for, and what is coming in: read beside the running server, or without one."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_proxy.cache.results import Outcome
from registry_proxy.maintenance.workers import VisibleLocks, count_workers
from registry_proxy.observe.counters import FETCHED, NO_REGISTRY, SERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_proxy.index.base import IndexReads
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Source
    from registry_proxy.storage.base import BlobStore


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """One registry: what is kept of it in bytes, how its answers came about, and the bytes sent and received."""

    registry: str
    repositories: int = 0
    tags: int = 0
    size: int = 0
    answers: Mapping[Outcome, int] = field(default_factory=dict)
    served: int = 0
    fetched: int = 0

    @property
    def saved(self) -> int:
        """Bytes that the upstream did not have to send. Negative while much was fetched and little asked for again."""
        return self.served - self.fetched


@dataclass(frozen=True, slots=True)
class FillStatus:
    """A transfer from upstream: `size` is what it will come to, `stored` what is there, both in bytes.

    `sources` are the repositories that hold the blob, as far as is known. `idle` is seconds since the last byte.
    """

    digest: Digest
    sources: tuple[Source, ...]
    size: int
    stored: int
    idle: float


@dataclass(frozen=True, slots=True)
class Status:
    """All of a cache. `used` and `limit` are bytes: with what fills have reserved; 0 for no limit.

    `since` is when counting began (Unix seconds), None before the first answer.
    """

    registries: tuple[RegistryStatus, ...]
    fills: tuple[FillStatus, ...]
    used: int
    limit: int
    workers: int
    since: float | None


class StatusReader:
    """Looks at a store and its index, and changes nothing. `registries` are always told of, `limit` is the budget."""

    def __init__(
        self, index: IndexReads, store: BlobStore, locks: VisibleLocks, registries: Iterable[str], limit: int
    ) -> None:
        self._index = index
        self._store = store
        self._locks = locks
        self._registries = tuple(registries)
        self._limit = limit

    async def look(self, now: float) -> Status:
        """All there is to tell. Raises IndexFailedError or StoreError."""
        usage = {each.registry: each for each in await self._index.usage()}
        counts: dict[str, Counter[str]] = {}
        since = []
        for count in self._index.counts():
            if count.registry == NO_REGISTRY:
                continue
            counts.setdefault(count.registry, Counter())[count.name] = count.value
            since.append(count.since)
        surveys = []
        for registry in sorted({*self._registries, *usage, *counts}):
            kept, counted = usage.get(registry), counts.get(registry, Counter())
            surveys.append(
                RegistryStatus(
                    registry,
                    *((kept.repositories, kept.tags, kept.size) if kept else (0, 0, 0)),
                    {outcome: counted[outcome.value] for outcome in Outcome},
                    counted[SERVED],
                    counted[FETCHED],
                )
            )
        return Status(
            tuple(surveys),
            tuple(self._fills(now)),
            self._index.used_bytes(),
            self._limit,
            count_workers(self._locks),
            min(since, default=None),
        )

    def _fills(self, now: float) -> Iterable[FillStatus]:
        for digest, size in sorted(self._index.reserved().items(), key=lambda item: str(item[0])):
            ingest = self._store.follow(digest)
            if ingest is None:
                continue  # it is just ending, or hasn't begun
            try:
                stored, written_at = ingest.size(), os.fstat(ingest.file.fileno()).st_mtime
            finally:
                ingest.close()
            sources = tuple(self._index.holders(digest))
            yield FillStatus(digest, sources, size, stored, max(0.0, now - written_at))
