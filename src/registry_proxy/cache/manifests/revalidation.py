"""Manifests under a name that the upstream may point elsewhere: fresh, confirmed anew, or stale."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.cache.failures import classify_failure, recorded_if_possible, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.manifest import InvalidManifestError, parse_manifest
from registry_proxy.policy.freshness import Decision, Fallback, Freshness, decide, fall_back
from registry_proxy.upstream.base import FetchedManifest, UpstreamBrokenError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.aio.singleflight import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.links import Links
    from registry_proxy.cache.manifests.store import ManifestStore
    from registry_proxy.index.base import Index, TagRecord
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Source
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)

# How long a client waits for an upstream that has failed before, where there is a copy. Seconds.
_GLANCE = 0.5


@dataclass(frozen=True, slots=True)
class ManifestPorts:
    """What manifests are served with. `clock` gives Unix seconds."""

    index: Index
    manifests: ManifestStore
    access: Links
    breakers: CircuitBreakers
    locks: NamedLocks
    single_flight: SingleFlight[ServedManifest]
    rules: Freshness
    clock: Callable[[], float]


class Revalidator:
    """The freshness of names, and the coalescing of the questions that it takes."""

    def __init__(self, ports: ManifestPorts) -> None:
        self._ports = ports

    async def get(
        self,
        upstream: Upstream,
        source: Source,
        name: str,
        ask: Callable[[TagRecord | None], Awaitable[ServedManifest]],
    ) -> ServedManifest:
        """The manifest that `name` stands for. Raises RegistryError.

        `ask` asks the upstream for it, given what is known; it may raise UpstreamError.
        """
        record = self._ports.index.tag(source, name)
        served = await self._fresh(record)
        if served is not None:
            return served
        question = self._ports.single_flight
        if record is not None and self._ports.breakers.is_failing(upstream):
            # An outage must not slow down what is here: the next try, when it is due, gets a moment, so that the end of
            # the outage shows, and then runs on behind the client's back.
            stale = await self._stale(record)
            if stale is not None:
                if not self._ports.breakers.may_ask(upstream):
                    return stale
                refresh = question.start((source, name), lambda: self._refresh(upstream, source, name, ask))
                await asyncio.wait([refresh], timeout=_GLANCE)
                return await refresh if refresh.done() else stale
        return await question.do((source, name), lambda: self._refresh(upstream, source, name, ask))

    async def accept(
        self, source: Source, fetched: FetchedManifest, expected: Digest | None, name: str | None
    ) -> ServedManifest:
        """Verify, store and link a manifest that the upstream sent. Raises UpstreamBrokenError when it is wrong."""
        try:
            manifest = parse_manifest(fetched.raw, fetched.content_type, expected or fetched.digest)
        except InvalidManifestError as error:
            raise UpstreamBrokenError(
                f"the manifest it sent for {source}, {name or expected}, is refused: {error}"
            ) from None
        if not await self._ports.manifests.save(manifest):
            return ServedManifest(manifest, Outcome.PASSED)
        now = self._ports.clock()
        with recorded_if_possible(f"{source}, {name or expected}"):
            await self._ports.index.record_manifest(source, manifest, name, now)
        return ServedManifest(manifest, Outcome.MISS, now + self._ports.rules.tag_ttl if name else 0.0)

    async def _fresh(self, record: TagRecord | None) -> ServedManifest | None:
        rules = self._ports.rules
        if record is None or decide(record.checked_at, self._ports.clock(), rules) is not Decision.SERVE:
            return None
        manifest = await self._ports.manifests.load(record.digest)
        if manifest is None:
            return None
        return ServedManifest(manifest, Outcome.HIT, record.checked_at + rules.tag_ttl)

    async def _asked_for(self, record: TagRecord | None, begun_at: float) -> ServedManifest | None:
        """What another process has asked for since `begun_at`, or in vain: nobody waits for that twice."""
        if record is None:
            return None
        if record.checked_at < begun_at:
            return await self._stale(record)
        manifest = await self._ports.manifests.load(record.digest)
        if manifest is None:
            return None
        fresh_until = record.checked_at + self._ports.rules.tag_ttl
        return ServedManifest(manifest, Outcome.REVALIDATED, fresh_until)

    async def _stale(self, record: TagRecord) -> ServedManifest | None:
        manifest = await self._ports.manifests.load(record.digest)
        return None if manifest is None else ServedManifest(manifest, Outcome.STALE)

    async def _refresh(
        self,
        upstream: Upstream,
        source: Source,
        name: str,
        ask: Callable[[TagRecord | None], Awaitable[ServedManifest]],
    ) -> ServedManifest:
        begun_at = self._ports.clock()
        async with self._ports.locks.hold(f"{source}:{name}") as waited:
            record = self._ports.index.tag(source, name)
            served = await (self._asked_for(record, begun_at) if waited else self._fresh(record))
            if served is not None:
                return served
            try:
                return await ask(record)
            except UpstreamError as error:
                return await self._fall_back(upstream, source, name, record, error)

    async def _fall_back(
        self, upstream: Upstream, source: Source, name: str, record: TagRecord | None, error: UpstreamError
    ) -> ServedManifest:
        failure = to_registry_error(error, upstream, ErrorCode.MANIFEST_UNKNOWN)
        if record is None:
            raise failure from error
        match fall_back(classify_failure(error), record.checked_at, self._ports.clock(), self._ports.rules):
            case Fallback.SERVE_STALE:
                stale = await self._stale(record)
                if stale is not None:
                    log.warning("%s:%s is served stale: %s", source, name, error)
                    return stale
            case Fallback.FORGET:
                with recorded_if_possible(f"the loss of {source}:{name}"):
                    await self._ports.index.drop_tag(source, name)
                    await self._ports.index.drop_link(source, record.digest)
            case Fallback.REPORT:
                pass
        raise failure from error
