"""Lists of a registry (OCI distribution-spec, "Content Discovery"): complete, or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import parse
from registry_proxy.oci import media_types
from registry_proxy.oci.header_grammar import MAX_FIELD
from registry_proxy.oci.manifest import MAX_MANIFEST_SIZE
from registry_proxy.upstream.base import (
    TagPage,
    TagQuery,
    UpstreamBrokenError,
    UpstreamNotFoundError,
    cut_page,
)
from registry_proxy.upstream.failures import RedirectRefusedError
from registry_proxy.upstream.listings import (
    InvalidListingError,
    next_link,
    parse_referrers,
    parse_tags,
)
from registry_proxy.upstream.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from yarl import URL

    from registry_proxy.oci.reference import Digest, Repository
    from registry_proxy.upstream.repository import RegistryClient
    from registry_proxy.upstream.response import UpstreamResponse

_MAX_TAG_LIST = 8 * 1024 * 1024  # bytes
# More pages than a list of the maximum size needs: an upstream could send empty ones for ever.
_MAX_PAGES = 1000
_ACCEPT_INDEX = {"Accept": media_types.OCI_INDEX}


class NoReferrersError(UpstreamBrokenError):
    """The response shows that the registry has no referrers API."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its body, its URL after redirects, and the URL of the next page."""

    raw: bytes
    url: URL
    following: URL | None


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of one repository at its registry."""

    _client: RegistryClient
    _repository: Repository

    async def tags(self, query: TagQuery) -> TagPage:
        """Return one page of tags, see `RemoteRepository.tags`."""
        asked = self._url("tags/list")
        first = await self._page(asked.with_query(query.fields), {}, _MAX_TAG_LIST)
        tags, following = await _tags(first), None
        if first.following is not None and first.following.with_query(None) == asked:
            following = TagQuery(tuple(first.following.query.items()))
        else:
            # Pages of another host, to which the registry redirects. A redirect may drop the query of the next page.
            async for page in self._after(first, {}, _MAX_TAG_LIST):
                tags += await _tags(page)
        return cut_page(tags, query, following)

    async def referrers(self, subject: Digest) -> list[bytes]:
        """Return the descriptors of all referrers, unparsed. Raise NoReferrersError if there is no such API."""
        first = await self._first_referrers(self._url(f"referrers/{subject}"))
        found = await _referrers(first)
        async for page in self._after(first, _ACCEPT_INDEX, MAX_MANIFEST_SIZE):
            found += await _referrers(page)
        return found

    async def _first_referrers(self, url: URL) -> Page:
        try:
            async with self._client.open("GET", url, self._repository, _ACCEPT_INDEX) as response:
                if lacks_referrers(response, url):
                    await response.discard()
                    raise NoReferrersError(f"{response.request}: no referrers API, status {response.status}")
                page = await self._read(response, MAX_MANIFEST_SIZE)
        except RedirectRefusedError as error:
            raise NoReferrersError(str(error)) from error
        try:
            await parse(parse_referrers, page.raw)
        except InvalidListingError as error:
            raise NoReferrersError(f"GET {page.url}: {error}") from None
        return page

    async def _after(self, page: Page, headers: Mapping[str, str], limit: int) -> AsyncIterator[Page]:
        """Yield all pages after `page`. Raise UpstreamError, also if all pages have more than `limit` bytes."""
        seen, size = {page.url}, len(page.raw)
        while page.following is not None:
            if page.following in seen or len(seen) == _MAX_PAGES:
                raise UpstreamBrokenError(
                    f"GET {page.url.with_query(None)}: the pages form a loop, or are more than {_MAX_PAGES}"
                )
            seen.add(page.following)
            try:
                page = await self._page(page.following, headers, limit - size)
            except UpstreamNotFoundError as error:
                # A missing page does not mean that the list is missing.
                raise UpstreamBrokenError(str(error)) from error
            size += len(page.raw)
            yield page

    async def _page(self, url: URL, headers: Mapping[str, str], limit: int) -> Page:
        async with self._client.open("GET", url, self._repository, headers) as response:
            return await self._read(response, limit)

    async def _read(self, response: UpstreamResponse, limit: int) -> Page:
        if response.status != 200:
            raise await response.refusal(self._client.clock())
        return Page(await response.read(limit), response.url, next_page(response))

    def _url(self, path: str) -> URL:
        return self._client.home.with_path(f"/v2/{self._repository}/{path}")


def next_page(response: UpstreamResponse) -> URL | None:
    """Return the URL of the next page. It is on the host of this one. Raise UpstreamBrokenError."""
    # A response may have several of these headers (RFC 9110, section 5.3).
    header = ", ".join(response.headers.getall("Link", ()))
    if len(header) > MAX_FIELD:
        raise UpstreamBrokenError(f"{response.request}: the Link header is longer than {MAX_FIELD} bytes")
    link = next_link(header)
    if link is None:
        return None
    here = response.url
    try:
        target = here.join(parse_url(link)).with_fragment(None)
        if target.origin() != here.origin():
            # Behind a proxy, registries often do not know their own host name or scheme.
            target = here.with_query(target.query)
    except ValueError:
        target = here
    if target == here or (target.path == here.path and not target.query):
        raise UpstreamBrokenError(f"{response.request}: the link to the next page leads to no other page")
    return target


def lacks_referrers(response: UpstreamResponse, requested: URL) -> bool:
    """Return whether the response shows that the registry has no referrers API."""
    if response.status in (200, 408, 429):
        return False
    return 300 <= response.status < 500 or response.status == 501 or response.url != requested


async def _tags(page: Page) -> tuple[str, ...]:
    try:
        return await parse(parse_tags, page.raw)
    except InvalidListingError as error:
        raise UpstreamBrokenError(f"GET {page.url.with_query(None)}: {error}") from None


async def _referrers(page: Page) -> list[bytes]:
    try:
        return await parse(parse_referrers, page.raw)
    except InvalidListingError as error:
        raise UpstreamBrokenError(f"GET {page.url.with_query(None)}: {error}") from None
