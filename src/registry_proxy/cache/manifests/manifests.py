"""Manifests, by tag and by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.cache.failures import recorded_if_possible, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.reference import Reference, Repository, Source, Tag
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from registry_proxy.cache.manifests.revalidation import ManifestPorts, Revalidator
    from registry_proxy.index.base import TagRecord
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.upstream.base import Upstream

# How long a digest's answer may be repeated from the server's memory, in seconds: what another process withdraws is
# seen after it.
_DIGEST_MEMO = 10.0


class Manifests:
    """Reads of manifests through a repository."""

    def __init__(self, ports: ManifestPorts, revalidator: Revalidator) -> None:
        self._ports = ports
        self._revalidator = revalidator

    async def get(self, upstream: Upstream, repository: Repository, reference: Reference) -> ServedManifest:
        """The manifest. Raises RegistryError."""
        source = Source(upstream.registry, repository)
        if isinstance(reference, Tag):
            return await self._revalidator.get(
                upstream,
                source,
                reference.name,
                lambda record: self._ask(upstream, source, reference, record),
            )
        return await self._by_digest(upstream, source, reference)

    async def _ask(
        self, upstream: Upstream, source: Source, tag: Tag, record: TagRecord | None
    ) -> ServedManifest:
        """A tag that is known costs a HEAD, which Docker Hub doesn't count, and a GET only where it has moved."""
        digest: Digest | None = None
        if record is not None:
            digest = await self._ports.breakers.ask(upstream, upstream.resolve(source.repository, tag))
        manifest = await self._ports.manifests.load(digest) if digest else None
        if record is None or digest is None or manifest is None:
            return await self._fetch(upstream, source, digest or tag, tag)
        now = self._ports.clock()
        with recorded_if_possible(f"{source}:{tag}"):
            if digest == record.digest:
                await self._ports.index.refresh_tag(source, tag.name, digest, now)
            else:
                await self._ports.index.record_manifest(source, manifest, tag.name, now)
        return ServedManifest(manifest, Outcome.REVALIDATED, now + self._ports.rules.tag_ttl)

    async def _fetch(
        self, upstream: Upstream, source: Source, reference: Reference, tag: Tag | None
    ) -> ServedManifest:
        fetched = await self._ports.breakers.ask(upstream, upstream.manifest(source.repository, reference))
        expected = None if isinstance(reference, Tag) else reference
        return await self._revalidator.accept(source, fetched, expected, tag.name if tag else None)

    async def _by_digest(self, upstream: Upstream, source: Source, digest: Digest) -> ServedManifest:
        """What a digest stands for can't be out of date; only the access to it can."""
        manifest = await self._ports.manifests.load(digest)
        if manifest is None:
            return await self._ports.single_flight.do(
                (source, digest), lambda: self._fetch_digest(upstream, source, digest)
            )
        outcome = await self._ports.access.permit(
            upstream,
            source,
            digest,
            ErrorCode.MANIFEST_UNKNOWN,
            lambda: self._ports.single_flight.start(
                (source, digest, "access"), lambda: self._confirm(upstream, source, manifest)
            ),
        )
        memo = self._ports.clock() + _DIGEST_MEMO if outcome is Outcome.HIT else 0.0
        return ServedManifest(manifest, outcome, memo)

    async def _confirm(self, upstream: Upstream, source: Source, manifest: Manifest) -> ServedManifest:
        """Have the upstream say that the repository holds this manifest; link it and its children."""
        resolved = await self._ports.breakers.ask(
            upstream, upstream.resolve(source.repository, manifest.digest)
        )
        if resolved != manifest.digest:
            # A HEAD that tells no digest says nothing.
            return await self._fetch(upstream, source, manifest.digest, None)
        with recorded_if_possible(f"the link of {source}@{manifest.digest}"):
            await self._ports.index.record_manifest(source, manifest, None, self._ports.clock())
        return ServedManifest(manifest, Outcome.REVALIDATED)

    async def _fetch_digest(self, upstream: Upstream, source: Source, digest: Digest) -> ServedManifest:
        async with self._ports.locks.hold(f"{source}@{digest}"):
            manifest = await self._ports.manifests.load(digest)
            link = self._ports.access.link(source, digest)
            if manifest is not None and self._ports.access.is_trusted(link):
                return ServedManifest(manifest, Outcome.JOINED)  # another process has just fetched it
            try:
                return await self._fetch(upstream, source, digest, None)
            except UpstreamError as error:
                raise to_registry_error(error, upstream, ErrorCode.MANIFEST_UNKNOWN) from error
