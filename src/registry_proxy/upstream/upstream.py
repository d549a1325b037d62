"""An upstream registry over HTTP (OCI distribution-spec, "Pull" and "Content Discovery")."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from registry_proxy.oci import media_types
from registry_proxy.oci.digest import Digest, InvalidDigestError
from registry_proxy.oci.manifest import MAX_MANIFEST_SIZE
from registry_proxy.oci.reference import referrers_tag
from registry_proxy.upstream.auth.credentials import StaticCredentials
from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule
from registry_proxy.upstream.base import (
    FetchedManifest,
    TagPage,
    UpstreamBrokenError,
    UpstreamNotFoundError,
)
from registry_proxy.upstream.blob_stream import ResponseStream, probed_size, response_stream, unsatisfied_size
from registry_proxy.upstream.client import RegistryClient
from registry_proxy.upstream.failures import RedirectRefusedError
from registry_proxy.upstream.listings import (
    InvalidListingError,
    cut_page,
    next_link,
    parse_referrers,
    parse_tags,
    referrers_index,
)
from registry_proxy.upstream.ratelimit import RateLimit
from registry_proxy.upstream.redirects import next_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from yarl import URL

    from registry_proxy.oci.reference import Reference, Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.auth.realms import DomainRegistry
    from registry_proxy.upstream.presets import Preset
    from registry_proxy.upstream.response import UpstreamResponse
    from registry_proxy.upstream.transport import Transport

_MAX_TAG_PAGE = 8 * 1024 * 1024
_MAX_REFERRER_PAGES = 20
_ACCEPT_INDEX = {"Accept": media_types.OCI_INDEX}


class NoReferrersError(UpstreamBrokenError):
    """The registry has no referrers API, by its answer."""


class RegistryUpstream:
    """One upstream registry (see `base.Upstream`). It owns its transport."""

    def __init__(
        self,
        preset: Preset,
        transport: Transport,
        *,
        credentials: CredentialProvider | None = None,
        domains: DomainRegistry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._preset = preset
        self._home = transport.home
        self._transport = transport
        self._clock = clock
        self._rate_limit: RateLimit | None = None
        rule = RealmRule(self._home, preset.realm_hosts, domains or PublicSuffixes())
        self._client = RegistryClient(self._home, transport, rule, credentials or StaticCredentials(), clock)

    @property
    def registry(self) -> str:
        return self._preset.registry

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the last answer that told it said of the pulls that are left."""
        return self._rate_limit

    def canonical(self, repository: Repository) -> Repository:
        return self._preset.canonical(repository)

    async def close(self) -> None:
        await self._transport.close()

    async def resolve(self, repository: Repository, reference: Reference) -> Digest | None:
        path = f"{repository}/manifests/{reference}"
        async with self._open("HEAD", path, repository, {"Accept": media_types.ACCEPT}) as response:
            if response.status in (405, 501):
                return None
            await self._expect(response, 200)
            digest = digest_header(response)
            return None if isinstance(reference, Digest) and digest != reference else digest

    async def manifest(self, repository: Repository, reference: Reference) -> FetchedManifest:
        path = f"{repository}/manifests/{reference}"
        async with self._open("GET", path, repository, {"Accept": media_types.ACCEPT}) as response:
            await self._expect(response, 200)
            raw = await response.read(MAX_MANIFEST_SIZE)
            return FetchedManifest(raw, response.headers.get("Content-Type", ""), digest_header(response))

    @asynccontextmanager
    async def blob(
        self, repository: Repository, digest: Digest, offset: int = 0
    ) -> AsyncIterator[ResponseStream]:
        path = f"{repository}/blobs/{digest}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._open("GET", path, repository, headers) as response:
            if response.status != 416:
                await self._expect(response, 200, 206)
                yield response_stream(response, offset)
                return
            if offset and unsatisfied_size(response) == offset:
                yield ResponseStream(response, offset, offset)
                return
        # What we have is longer than what there is: only the whole blob can tell which is wrong.
        async with self._open("GET", path, repository, {}) as response:
            await self._expect(response, 200)
            yield response_stream(response, 0)

    async def probe_blob(self, repository: Repository, digest: Digest) -> int | None:
        path = f"{repository}/blobs/{digest}"
        async with self._open("GET", path, repository, {"Range": "bytes=0-0"}) as response:
            # 416: an empty blob has no first byte.
            await self._expect(response, 200, 206, 416)
            return probed_size(response)

    async def tags(self, repository: Repository, limit: int | None, last: str | None) -> TagPage:
        query = {"n": limit, "last": last}
        path = f"{repository}/tags/list"
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        async with self._open("GET", path, repository, {}, wanted) as response:
            await self._expect(response, 200)
            try:
                tags = parse_tags(await response.read(_MAX_TAG_PAGE))
            except InvalidListingError as error:
                raise UpstreamBrokenError(f"{response.what}: {error}") from None
            more = next_link(response.headers.get("Link", "")) is not None
            return cut_page(tags, limit, last, more=more)

    async def referrers(self, repository: Repository, subject: Digest) -> bytes:
        descriptors = await self._listed_referrers(repository, subject)
        if descriptors is None:
            descriptors = await self._tagged_referrers(repository, subject)
        return referrers_index(descriptors)

    async def _listed_referrers(self, repository: Repository, subject: Digest) -> list[bytes] | None:
        """What the referrers API lists, as far as we read; None where there is no such API."""
        try:
            found, page = await self._referrers_page(
                repository, self._url(f"{repository}/referrers/{subject}")
            )
        except (NoReferrersError, RedirectRefusedError):
            return None
        for _ in range(_MAX_REFERRER_PAGES - 1):
            if page is None or sum(map(len, found)) > MAX_MANIFEST_SIZE:
                break
            more, page = await self._referrers_page(repository, page)
            found += more
        return found

    async def _referrers_page(self, repository: Repository, url: URL) -> tuple[list[bytes], URL | None]:
        async with self._client.open("GET", url, repository, _ACCEPT_INDEX) as response:
            if lacks_referrers(response, url):
                await response.discard()
                raise NoReferrersError(f"{response.what}: there are no referrers, only a {response.status}")
            await self._expect(response, 200)
            try:
                return parse_referrers(await response.read(MAX_MANIFEST_SIZE)), self._next_page(response)
            except InvalidListingError as error:
                raise NoReferrersError(f"{response.what}: {error}") from None

    def _next_page(self, response: UpstreamResponse) -> URL | None:
        link = next_link(response.headers.get("Link", ""))
        target = next_url(response.url, link) if link else None
        return target if target and target.origin() == self._home else None

    async def _tagged_referrers(self, repository: Repository, subject: Digest) -> list[bytes]:
        """What the tag holds that stands for the API where it is missing."""
        try:
            fetched = await self.manifest(repository, referrers_tag(subject))
            return parse_referrers(fetched.raw)
        except (UpstreamNotFoundError, InvalidListingError):
            return []

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        repository: Repository,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[UpstreamResponse]:
        url = self._url(path).with_query(query)
        async with self._client.open(method, url, repository, headers) as response:
            self._rate_limit = RateLimit.parse(response.headers) or self._rate_limit
            yield response

    def _url(self, path: str) -> URL:
        return self._home.with_path(f"/v2/{path}")

    async def _expect(self, response: UpstreamResponse, *statuses: int) -> None:
        if response.status not in statuses:
            raise await response.refusal(self._clock())


def digest_header(response: UpstreamResponse) -> Digest | None:
    """The digest of an answer's content by its header; Amazon's public registry, for one, sends none with a HEAD."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except InvalidDigestError:
        return None


def lacks_referrers(response: UpstreamResponse, asked: URL) -> bool:
    """Whether this tells that the registry has no referrers API, in one of the ways in which registries do."""
    if response.status in (200, 408, 429):
        return False
    return 300 <= response.status < 500 or response.status == 501 or response.url != asked
