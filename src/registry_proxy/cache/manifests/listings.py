"""Tag lists, referrers and the catalog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.cache.failures import classify_failure, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci import media_types
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.manifest import parse_manifest
from registry_proxy.oci.reference import Repository, Source
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import FetchedManifest, TagPage, UpstreamError

if TYPE_CHECKING:
    from registry_proxy.aio.singleflight import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.manifests.revalidation import Revalidator
    from registry_proxy.index.base import Index
    from registry_proxy.oci.digest import Digest
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)

# The most names in one page, whatever is asked for (CVE-2023-2253, distribution).
MAX_PAGE = 1000


class Tags:
    """Tag lists are the upstream's own, page by page; in an outage, the tags that are cached."""

    def __init__(self, index: Index, breakers: CircuitBreakers, single_flight: SingleFlight[TagPage]) -> None:
        self._index = index
        self._breakers = breakers
        self._single_flight = single_flight

    async def get(
        self, upstream: Upstream, repository: Repository, limit: int | None, last: str | None
    ) -> tuple[TagPage, Outcome]:
        """One page of at most `limit` tags after the tag `last`. Raises RegistryError."""
        source = Source(upstream.registry, repository)
        if not self._breakers.may_ask(upstream) and (cached := self._cached(source, limit, last)) is not None:
            return cached, Outcome.STALE
        try:
            page = await self._single_flight.do(
                (source, limit, last),
                lambda: self._breakers.ask(upstream, upstream.tags(repository, limit, last)),
            )
        except UpstreamError as error:
            cached = (
                self._cached(source, limit, last)
                if classify_failure(error) is UpstreamFailure.OUTAGE
                else None
            )
            if cached is None:
                raise to_registry_error(error, upstream, ErrorCode.NAME_UNKNOWN) from error
            log.warning("the tags of %s are answered from the cache: %s", source, error)
            return cached, Outcome.STALE
        return page, Outcome.ASKED

    def _cached(self, source: Source, limit: int | None, last: str | None) -> TagPage | None:
        known = self._index.tags(source)
        if not known:
            return None
        rest = [tag for tag in known if last is None or tag > last]
        page = rest if limit is None else rest[:limit]
        return TagPage(tuple(page), more=len(page) < len(rest) and bool(page))


class Referrers:
    """What refers to a manifest. The upstream's answer is kept like a tag, so that it outlives an outage."""

    def __init__(self, index: Index, breakers: CircuitBreakers, revalidator: Revalidator) -> None:
        self._index = index
        self._breakers = breakers
        self._revalidator = revalidator

    async def get(
        self, upstream: Upstream, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> tuple[bytes, Outcome]:
        """An image index of the referrers, of one artifact type if given. Raises RegistryError."""
        source = Source(upstream.registry, repository)

        async def ask(_: object) -> ServedManifest:
            raw = await self._breakers.ask(upstream, upstream.referrers(repository, subject))
            if _is_empty(raw) and self._index.link(source, subject) is None:
                # No upstream has said that there is such a repository: nobody can fill the index by asking.
                return ServedManifest(parse_manifest(raw, media_types.OCI_INDEX), Outcome.ASKED)
            return await self._revalidator.accept(
                source, FetchedManifest(raw, media_types.OCI_INDEX), None, name
            )

        name = f"referrers:{subject}"  # no tag has a colon
        served = await self._revalidator.get(upstream, source, name, ask)
        raw = served.manifest.raw
        return (_of_type(raw, artifact_type) if artifact_type else raw), served.outcome


class Catalog:
    """The repositories that are cached."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def get(self, registry: str | None, limit: int, last: str) -> tuple[list[Source], bool]:
        """At most `limit` repositories after the full name `last`, and whether there are more."""
        found = self._index.repositories(registry, last, limit + 1)
        return found[:limit], len(found) > limit


def _is_empty(raw: bytes) -> bool:
    return not msgspec.json.decode(raw, type=dict[str, object]).get("manifests")


def _of_type(raw: bytes, artifact_type: str) -> bytes:
    document = msgspec.json.decode(raw, type=dict[str, object])
    manifests = document.get("manifests")
    if isinstance(manifests, list):
        document["manifests"] = [entry for entry in manifests if entry.get("artifactType") == artifact_type]
    return msgspec.json.encode(document)
