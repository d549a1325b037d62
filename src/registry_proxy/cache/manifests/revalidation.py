"""Mutable references, such as tags: fresh, revalidated, or stale (RFC 9111, sections 4.2 and 4.3)."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

from registry_proxy.cache.content import log_index_errors
from registry_proxy.cache.failures import classify_failure, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.policy.freshness import Fallback, Freshness, fall_back, is_fresh
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.aio.tasks import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.links import Links
    from registry_proxy.cache.manifests.store import ManifestStore
    from registry_proxy.index.base import Index, TagRecord
    from registry_proxy.oci.reference import Source

log = logging.getLogger(__name__)

# How long a client with a stale copy waits for an upstream that failed before, in seconds.
_STALE_WAIT = 0.5


class MutableReference(Protocol):
    """A reference that the upstream may move to another manifest, and the request for the current one."""

    @property
    def source(self) -> Source: ...
    @property
    def key(self) -> str:
        """The key in the index: the tag, or a key that cannot be a tag."""
        ...

    async def request(self, known: TagRecord | None) -> ServedManifest:
        """Send the request and record the response. `known` is the index's record. Raise UpstreamError."""
        ...


class Revalidator:
    """Reads of mutable references: all clients share one request to the upstream. `clock` returns Unix seconds."""

    def __init__(  # noqa: PLR0913 - its parts, each once
        self,
        *,
        index: Index,
        store: ManifestStore,
        links: Links,
        breakers: CircuitBreakers,
        locks: NamedLocks,
        single_flight: SingleFlight[ServedManifest],
        rules: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._store = store
        self._links = links
        self._breakers = breakers
        self._locks = locks
        self._single_flight = single_flight
        self._rules = rules
        self._clock = clock

    async def get(self, reference: MutableReference) -> ServedManifest:
        """Return the manifest that the reference points to. Raise RegistryError."""
        source, key = reference.source, reference.key
        record = self._index.tag(source, key)
        if record is not None and (served := await self._fresh(record)) is not None:
            return served
        request = partial(self._revalidate, reference)
        if record is not None and self._breakers.is_open(source):
            # An outage must not delay cached content. A request that is due gets half a second, to notice the end
            # of the outage, and then continues in the background.
            stale = await self._stale(source, record)
            if stale is not None:
                if not self._breakers.may_ask(source):
                    return stale
                running = self._single_flight.start((source, key), request)
                await asyncio.wait([running], timeout=_STALE_WAIT)
                return await running if running.done() else stale
        return await self._single_flight.do((source, key), request)

    async def _fresh(self, record: TagRecord) -> ServedManifest | None:
        if not is_fresh(record.checked_at, self._clock(), self._rules):
            return None
        return await self._stored(record, Outcome.HIT)

    async def _stored(self, record: TagRecord, outcome: Outcome) -> ServedManifest | None:
        """Return the recorded manifest, if it is stored, with the rest of its freshness."""
        manifest = await self._store.load(record.digest)
        if manifest is None:
            return None
        checked_at = record.checked_at
        return ServedManifest(manifest, outcome, checked_at, checked_at + self._rules.tag_ttl)

    async def _stale(self, source: Source, record: TagRecord) -> ServedManifest | None:
        """Return the stored copy, unless the upstream has withdrawn the access to it."""
        link = self._links.get(source, record.digest)
        if link is None or not link.is_confirmed:
            return None
        manifest = await self._store.load(record.digest)
        return None if manifest is None else ServedManifest(manifest, Outcome.STALE)

    async def _revalidate(self, reference: MutableReference) -> ServedManifest:
        begun_at = self._clock()
        async with self._locks.hold(f"{reference.source}:{reference.key}") as waited:
            record = self._index.tag(reference.source, reference.key)
            if record is not None:
                served = await (
                    self._other_process(reference.source, record, begun_at) if waited else self._fresh(record)
                )
                if served is not None:
                    return served
            try:
                return await reference.request(record)
            except UpstreamError as error:
                return await self._fall_back(reference, record, error)

    async def _other_process(
        self, source: Source, record: TagRecord, begun_at: float
    ) -> ServedManifest | None:
        """Return the manifest that another process revalidated since `begun_at`, or the stale copy if it failed.

        This saves a second wait.
        """
        if record.checked_at < begun_at:
            return await self._stale(source, record)
        return await self._stored(record, Outcome.REVALIDATED)

    async def _fall_back(
        self, reference: MutableReference, record: TagRecord | None, error: UpstreamError
    ) -> ServedManifest:
        source, key = reference.source, reference.key
        failure = to_registry_error(error, source.registry, ErrorCode.MANIFEST_UNKNOWN)
        if record is None:
            raise failure from error
        match fall_back(classify_failure(error), record.checked_at, self._clock(), self._rules):
            case Fallback.SERVE_STALE:
                stale = await self._stale(source, record)
                if stale is not None:
                    log.warning("%s:%s served stale: %s", source, key, error)
                    return stale
            case Fallback.FORGET:
                with log_index_errors(f"removing {source}:{key}"):
                    await self._index.drop_tag(source, key)
                    await self._index.drop_link(source, record.digest)
            case Fallback.REPORT:
                await self._links.withdraw_if_refused(source, error)
        raise failure from error
