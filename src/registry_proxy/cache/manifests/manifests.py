"""Reads of manifests, by tag and by digest."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.cache.failures import classify_failure, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.reference import Digest, Reference, Tag
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import FetchedManifest, UpstreamError, UpstreamNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.aio.tasks import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.links import Links
    from registry_proxy.cache.manifests.current import CurrentManifests
    from registry_proxy.cache.manifests.intake import Intake
    from registry_proxy.cache.manifests.revalidation import Revalidator
    from registry_proxy.cache.manifests.store import ManifestStore
    from registry_proxy.cache.results import Body
    from registry_proxy.index.base import Index, TagRecord
    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.upstream.base import RemoteRepository

# How long the server may repeat the response for a digest from memory, in seconds: after that it notices that another
# process withdrew the access.
_DIGEST_TTL = 10.0
# Requests by tag for a manifest that the registry does not find by its digest.
_MAX_TAGS = 3


class Fetcher:
    """Requests for manifests, counted by the circuit breakers. The intake records the responses."""

    def __init__(
        self,
        *,
        index: Index,
        breakers: CircuitBreakers,
        current: CurrentManifests,
        intake: Intake,
        store: ManifestStore,
        links: Links,
    ) -> None:
        self._index = index
        self._breakers = breakers
        self._current = current
        self._intake = intake
        self._links = links
        self._store = store

    async def fetch_tag(self, remote: RemoteRepository, tag: Tag) -> ServedManifest:
        """Download the manifest of a tag. Raise UpstreamError."""
        fetched = await self._breakers.ask(remote.source, remote.manifest(tag))
        return await self._intake.accept(remote.source, fetched, tag.name)

    async def fetch(self, remote: RemoteRepository, digest: Digest, key: str | None = None) -> ServedManifest:
        """Download a manifest by its digest, otherwise by a tag. Raise UpstreamError."""
        try:
            fetched = await self._breakers.ask(remote.source, remote.manifest(digest))
        except UpstreamNotFoundError as error:
            fetched = await self._by_known_tag(remote, digest, error)
        return await self._intake.accept(remote.source, fetched, key, digest)

    async def revalidate(self, remote: RemoteRepository, tag: Tag, known: Digest) -> ServedManifest:
        """Check a known tag by a HEAD, which Docker Hub does not count. A GET follows if the tag has moved.

        Raise UpstreamError.
        """
        current = await self._breakers.ask(remote.source, self._current.get(remote, tag))
        if isinstance(current, FetchedManifest):
            stored = await self._stored(remote, known) if known.matches(current.raw) else None
            if stored is None:
                return await self._intake.accept(remote.source, current, tag.name)
            return await self._intake.refresh(remote.source, stored, tag.name)
        stored = await self._stored(remote, current)
        if stored is None:
            return await self._fetch_moved(remote, tag, current)
        if current == known:
            return await self._intake.refresh(remote.source, stored, tag.name)
        return await self._intake.link(remote.source, stored, tag.name)

    async def confirm(self, remote: RemoteRepository, manifest: Manifest) -> ServedManifest:
        """Request a confirmation that the repository holds the manifest; link it and its children.

        Raise UpstreamError.
        """
        digest = manifest.digest
        # A HEAD does not prove what another registry has sent.
        if not self._links.is_known_to(remote, digest):
            return await self.fetch(remote, digest)
        try:
            current = await self._breakers.ask(remote.source, self._current.get(remote, digest))
        except UpstreamNotFoundError as error:
            current = await self._by_known_tag(remote, digest, error)
        if isinstance(current, FetchedManifest):
            return await self._intake.accept(remote.source, current, None, digest)
        return await self._intake.link(remote.source, manifest, None)

    async def _stored(self, remote: RemoteRepository, digest: Digest) -> Manifest | None:
        """Return the stored manifest, unless only another registry has sent it: a HEAD does not prove it."""
        return await self._store.load(digest) if self._links.is_known_to(remote, digest) else None

    async def _fetch_moved(self, remote: RemoteRepository, tag: Tag, digest: Digest) -> ServedManifest:
        """Download what a tag has moved to, by digest: the tag can move again. Raise UpstreamError."""
        try:
            return await self.fetch(remote, digest, tag.name)
        except UpstreamError as error:
            if classify_failure(error) is UpstreamFailure.OUTAGE:
                raise
        return await self.fetch_tag(remote, tag)

    async def _by_known_tag(
        self, remote: RemoteRepository, digest: Digest, missing: UpstreamNotFoundError
    ) -> FetchedManifest:
        """Download a manifest that the registry does not find by its digest, by a tag that pointed to it.

        Raise UpstreamError: `missing` if no tag leads to it.
        """
        for name in self._index.tags_of(remote.source, digest)[:_MAX_TAGS]:
            with suppress(UpstreamNotFoundError):
                fetched = await self._breakers.ask(remote.source, remote.manifest(Tag(name)))
                if digest.matches(fetched.raw):
                    return fetched
        raise missing


class RemoteTag:
    """A tag of a remote repository (see `MutableReference`)."""

    def __init__(self, remote: RemoteRepository, tag: Tag, fetcher: Fetcher) -> None:
        self.source = remote.source
        self.key = tag.name
        self._remote = remote
        self._tag = tag
        self._fetcher = fetcher

    async def request(self, known: TagRecord | None) -> ServedManifest:
        if known is None:
            return await self._fetcher.fetch_tag(self._remote, self._tag)
        return await self._fetcher.revalidate(self._remote, self._tag, known.digest)


class Manifests:
    """Reads of manifests through a repository. `clock` returns Unix seconds."""

    def __init__(
        self,
        *,
        store: ManifestStore,
        fetcher: Fetcher,
        revalidator: Revalidator,
        links: Links,
        locks: NamedLocks,
        single_flight: SingleFlight[ServedManifest],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._revalidator = revalidator
        self._links = links
        self._locks = locks
        self._single_flight = single_flight
        self._clock = clock

    async def get(self, remote: RemoteRepository, reference: Reference) -> ServedManifest:
        """Return the manifest. Raise RegistryError."""
        if isinstance(reference, Tag):
            return await self._revalidator.get(RemoteTag(remote, reference, self._fetcher))
        return await self._by_digest(remote, reference)

    async def body(self, digest: Digest) -> Body | None:
        """Return a manifest that `get` returned as the body of a response; None if it is not stored.

        The caller closes it.
        """
        return await self._store.body(digest)

    async def _by_digest(self, remote: RemoteRepository, digest: Digest) -> ServedManifest:
        # The content of a digest cannot be out of date, but the access to it can.
        manifest = await self._store.load(digest)
        if manifest is None:
            fetch = partial(self._fetch_digest, remote, digest)
            return await self._single_flight.do((remote.source, digest), fetch)
        key = (remote.source, digest, "access")
        confirm = partial(self._fetcher.confirm, remote, manifest)
        probe = partial(self._single_flight.start, key, confirm)
        outcome = await self._links.check_access(remote, digest, ErrorCode.MANIFEST_UNKNOWN, probe)
        if outcome is not Outcome.HIT:
            return ServedManifest(manifest, outcome)
        now = self._clock()
        return ServedManifest(manifest, outcome, now, now + _DIGEST_TTL)

    async def _fetch_digest(self, remote: RemoteRepository, digest: Digest) -> ServedManifest:
        async with self._locks.hold(f"{remote.source}@{digest}"):
            manifest = await self._store.load(digest)
            link = self._links.get(remote.source, digest)
            if manifest is not None and self._links.is_trusted(link):
                return ServedManifest(manifest, Outcome.COLLAPSED)  # another process has fetched it
            try:
                return await self._fetcher.fetch(remote, digest)
            except UpstreamError as error:
                registry = remote.source.registry
                raise to_registry_error(error, registry, ErrorCode.MANIFEST_UNKNOWN) from error
