"""Status of a cache: stored content, counters and running fills, with or without a running server."""

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

    from registry_proxy.index.base import IndexReads, Outage
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.storage.base import BlobStore


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """One registry: stored content, responses by outcome, and traffic. `size`, `served` and `fetched` are bytes.

    `errors` are the error responses by their code. `outage` is set while the registry fails.
    """

    registry: str
    repositories: int = 0
    tags: int = 0
    size: int = 0
    responses: Mapping[Outcome, int] = field(default_factory=dict)
    served: int = 0
    fetched: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    outage: Outage | None = None

    @property
    def saved(self) -> int:
        """Bytes that the upstream did not have to send.

        More bytes are fetched than served as long as nothing is pulled twice: requests for tokens and confirmations,
        and transfers that a client did not wait for. Then nothing was saved.
        """
        return max(0, self.served - self.fetched)


@dataclass(frozen=True, slots=True)
class FillStatus:
    """A running fill: `size` is the final and `stored` the current number of bytes.

    `sources` are the repositories known to hold the blob. `idle` is the time since the last byte, in seconds.
    """

    digest: Digest
    sources: tuple[Source, ...]
    size: int
    stored: int
    idle: float


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a cache. `used` includes the reservations of fills; `limit` is 0 for no limit. Both are bytes.

    `errors` are the error responses to requests that name no registry, by their code. `since` is the time when counting
    began (Unix seconds), None before the first response.
    """

    registries: tuple[RegistryStatus, ...]
    fills: tuple[FillStatus, ...]
    used: int
    limit: int
    workers: int
    since: float | None
    errors: Mapping[str, int]


class StatusReader:
    """Reads of a store and its index. `registries` are always reported; `limit` is the budget in bytes."""

    def __init__(
        self, index: IndexReads, store: BlobStore, locks: VisibleLocks, registries: Iterable[str], limit: int
    ) -> None:
        self._index = index
        self._store = store
        self._locks = locks
        self._registries = tuple(registries)
        self._limit = limit

    async def read(self, now: float) -> Status:
        """Return the status at `now` (Unix seconds). Raise IndexFailedError or StoreError."""
        usage = {each.registry: each for each in await self._index.usage()}
        counts: dict[str, Counter[str]] = {}
        since = []
        for count in self._index.counts():
            counts.setdefault(count.registry, Counter())[count.name] = count.value
            if count.registry != NO_REGISTRY:
                since.append(count.since)
        unrelated = counts.pop(NO_REGISTRY, Counter())
        workers = count_workers(self._locks)
        # Without a server nothing is requested: then nothing is known about the registries.
        outages = {outage.registry: outage for outage in self._index.outages()} if workers else {}
        registries = []
        for registry in sorted({*self._registries, *usage, *counts, *outages}):
            stored, counted = usage.get(registry), counts.get(registry, Counter())
            registries.append(
                RegistryStatus(
                    registry,
                    *((stored.repositories, stored.tags, stored.size) if stored else (0, 0, 0)),
                    {outcome: counted[outcome.value] for outcome in Outcome},
                    counted[SERVED],
                    counted[FETCHED],
                    _errors(counted),
                    outages.get(registry),
                )
            )
        return Status(
            tuple(registries),
            tuple(self._fills(now)),
            self._index.used_bytes(),
            self._limit,
            workers,
            min(since, default=None),
            _errors(unrelated),
        )

    def _fills(self, now: float) -> Iterable[FillStatus]:
        for digest, size in sorted(self._index.reserved().items(), key=lambda item: str(item[0])):
            ingest = self._store.follow(digest)
            if ingest is None:
                continue  # the fill is ending, or has not begun
            try:
                stored, written_at = ingest.size(), os.fstat(ingest.file.fileno()).st_mtime
            finally:
                ingest.close()
            sources = tuple(self._index.holders(digest))
            yield FillStatus(digest, sources, size, stored, max(0.0, now - written_at))


def _errors(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counters that are neither an outcome nor a number of bytes."""
    others = {FETCHED, SERVED, *(outcome.value for outcome in Outcome)}
    return {name: count for name, count in sorted(counts.items()) if name not in others}
