"""Tag lists, referrers and the catalog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.aio.pools import parse
from registry_proxy.cache.failures import classify_failure, to_registry_error
from registry_proxy.cache.results import Outcome, ServedManifest
from registry_proxy.oci import media_types
from registry_proxy.oci.documents import decode_document
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.manifest import parse_manifest
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import FetchedManifest, TagPage, TagQuery, UpstreamError, cut_page

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from registry_proxy.aio.tasks import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.manifests.intake import Intake
    from registry_proxy.cache.manifests.revalidation import Revalidator
    from registry_proxy.index.base import Index, TagRecord
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.upstream.base import RemoteRepository

log = logging.getLogger(__name__)

# The maximum length of a page, also if the client requests more (CVE-2023-2253, distribution).
MAX_CATALOG_PAGE = 1000


class Tags:
    """Tag lists: pages of the upstream's list, or in an outage the tags in the cache for clients that accept these."""

    def __init__(self, index: Index, breakers: CircuitBreakers, single_flight: SingleFlight[TagPage]) -> None:
        self._index = index
        self._breakers = breakers
        self._single_flight = single_flight

    async def get(
        self, remote: RemoteRepository, query: TagQuery, *, may_be_stale: bool = False
    ) -> tuple[TagPage, Outcome]:
        """Return one page of tags. Raise RegistryError.

        The cached tags are not all tags, and most clients do not notice it. In an outage they are listed only if the
        list `may_be_stale`.
        """
        source = remote.source
        if (
            may_be_stale
            and not self._breakers.may_ask(source)
            and (cached := self._cached(source, query)) is not None
        ):
            return cached, Outcome.STALE

        def request() -> Awaitable[TagPage]:
            return self._breakers.ask(source, remote.tags(query), for_cached=False)

        try:
            return await self._single_flight.do((source, query), request), Outcome.UPSTREAM
        except UpstreamError as error:
            is_outage = classify_failure(error) is UpstreamFailure.OUTAGE
            cached = self._cached(source, query) if is_outage else None
            if cached is None or not may_be_stale:
                failure = to_registry_error(error, source.registry, ErrorCode.NAME_UNKNOWN)
                raise (_with_hint(failure) if cached else failure) from error
            log.warning("tag list of %s served from the cache: %s", source, error)
            return cached, Outcome.STALE

    def _cached(self, source: Source, query: TagQuery) -> TagPage | None:
        known = self._index.tags(source)
        if not known:
            return None
        return cut_page(tuple(tag for tag in known if query.last is None or tag > query.last), query, None)


class ReferrersList:
    """The referrers of one digest (see `MutableReference`)."""

    def __init__(
        self,
        remote: RemoteRepository,
        subject: Digest,
        index: Index,
        breakers: CircuitBreakers,
        intake: Intake,
    ) -> None:
        self.source = remote.source
        self.key = f"referrers:{subject}"  # no tag has a colon
        self._remote = remote
        self._subject = subject
        self._index = index
        self._breakers = breakers
        self._intake = intake

    async def request(self, known: TagRecord | None) -> ServedManifest:  # noqa: ARG002
        raw = await self._breakers.ask(self.source, self._remote.referrers(self._subject))
        if await parse(_is_empty, raw) and self._index.link(self.source, self._subject) is None:
            # No upstream has confirmed that the repository exists: requests alone must not fill the index.
            return ServedManifest(parse_manifest(raw, media_types.OCI_INDEX), Outcome.UPSTREAM)
        return await self._intake.accept(self.source, FetchedManifest(raw, media_types.OCI_INDEX), self.key)


class Referrers:
    """The manifests that refer to a manifest. The upstream's list is stored like a tag, also for outages."""

    def __init__(
        self, index: Index, breakers: CircuitBreakers, intake: Intake, revalidator: Revalidator
    ) -> None:
        self._index = index
        self._breakers = breakers
        self._intake = intake
        self._revalidator = revalidator

    async def get(
        self, remote: RemoteRepository, subject: Digest, artifact_type: str | None
    ) -> tuple[bytes, Outcome]:
        """Return an image index of the referrers, of one artifact type if given. Raise RegistryError."""
        referrers = ReferrersList(remote, subject, self._index, self._breakers, self._intake)
        served = await self._revalidator.get(referrers)
        raw = served.manifest.raw
        return (await parse(_of_type, raw, artifact_type) if artifact_type else raw), served.outcome


class Catalog:
    """The repositories in the cache."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def get(self, registry: str | None, limit: int, last: str) -> tuple[list[Source], bool]:
        """Return at most `limit` repositories after the full name `last`, and whether there are more."""
        found = self._index.repositories(registry, last, limit + 1)
        return found[:limit], len(found) > limit


def _with_hint(error: RegistryError) -> RegistryError:
    hint = "The cache knows some of the tags, not the whole list: `Cache-Control: max-stale` lists them"
    return RegistryError(error.code, f"{error.message}. {hint}", error.detail, retry_after=error.retry_after)


class _Referrers(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str
    manifests: list[msgspec.Raw]


class _Typed(msgspec.Struct, rename="camel"):
    artifact_type: object = None


def _is_empty(raw: bytes) -> bool:
    return not decode_document(raw, _Referrers).manifests


def _of_type(raw: bytes, artifact_type: str) -> bytes:
    document = decode_document(raw, _Referrers)
    document.manifests = [
        entry
        for entry in document.manifests
        if decode_document(bytes(entry), _Typed).artifact_type == artifact_type
    ]
    return msgspec.json.encode(document)
