"""Intake of manifests from upstreams: every one is verified, stored and linked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.aio.pools import parse
from registry_proxy.cache.content import log_index_errors
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci.manifest import InvalidManifestError, parse_manifest
from registry_proxy.upstream.base import FetchedManifest, UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.cache.manifests.store import ManifestStore
    from registry_proxy.index.base import Index
    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.policy.freshness import Freshness


class Intake:
    """Recording of the manifests that upstreams send and confirm. `clock` returns Unix seconds.

    A `key` is a tag, or another key of the index under which the manifest is found; None if it was requested by digest.
    """

    def __init__(
        self, store: ManifestStore, index: Index, rules: Freshness, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._index = index
        self._rules = rules
        self._clock = clock

    async def accept(
        self, source: Source, fetched: FetchedManifest, key: str | None, expected: Digest | None = None
    ) -> ServedManifest:
        """Verify, store and link a manifest that the upstream sent. Raise UpstreamBrokenError if it is wrong."""
        try:
            manifest = await parse(
                parse_manifest, fetched.raw, fetched.content_type, expected or fetched.digest
            )
        except InvalidManifestError as error:
            text = f"manifest {key or expected} of {source} is invalid: {error}"
            raise UpstreamBrokenError(text) from None
        if not await self._store.save(manifest):
            return ServedManifest(manifest, Outcome.PASS_THROUGH)
        return await self.link(source, manifest, key, Outcome.MISS)

    async def link(
        self, source: Source, manifest: Manifest, key: str | None, outcome: Outcome = Outcome.REVALIDATED
    ) -> ServedManifest:
        """Record that the upstream sent or confirmed the manifest for the repository, and that `key` points to it."""
        now = self._clock()
        with log_index_errors(f"recording {key or manifest.digest} of {source}"):
            await self._index.record_manifest(source, manifest, key, now)
        return self._served(manifest, outcome, now) if key else ServedManifest(manifest, outcome)

    async def refresh(self, source: Source, manifest: Manifest, key: str) -> ServedManifest:
        """Record that the upstream confirmed that `key` still points to the manifest."""
        now = self._clock()
        with log_index_errors(f"recording {key} of {source}"):
            await self._index.refresh_tag(source, key, manifest.digest, now)
        return self._served(manifest, Outcome.REVALIDATED, now)

    def _served(self, manifest: Manifest, outcome: Outcome, checked_at: float) -> ServedManifest:
        return ServedManifest(manifest, outcome, checked_at, checked_at + self._rules.tag_ttl)
