"""Endpoints of `/v2/NAME/tags/list`, `/v2/NAME/referrers/DIGEST` and `/v2/_catalog`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from registry_proxy.cache.manifests.listings import MAX_CATALOG_PAGE, Catalog, Referrers, Tags
from registry_proxy.cache.results import Outcome
from registry_proxy.oci import media_types
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.responses import Headers, Response, json_response, outcome_headers
from registry_proxy.upstream.base import TagQuery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.oci.reference import Digest, Repository
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import RemoteRepository

_DEFAULT_CATALOG_PAGE = 100


class ListingEndpoint:
    """Responses with lists, paged by `n` and `last` (distribution-spec, "Content Discovery")."""

    def __init__(self, tags: Tags, referrers: Referrers, catalog: Catalog) -> None:
        self._tags = tags
        self._referrers = referrers
        self._catalog = catalog

    async def tags(
        self,
        request: Request,
        name: Repository,
        remote: RemoteRepository,
        query: Mapping[str, str],
        extra: Headers,
    ) -> Response:
        """Return one page of tags. `name` is the repository as the client wrote it. Raise RegistryError."""
        _page_size(query)
        asked = TagQuery(tuple((key, value) for key, value in query.items() if key != "ns"))
        page, outcome = await self._tags.get(remote, asked, may_be_stale=_accepts_stale(request))
        headers = [*outcome_headers(outcome), *extra]
        if page.following:
            headers.append(_next_page(f"/v2/{name}/tags/list", query, dict(page.following.fields)))
        return json_response({"name": str(name), "tags": page.tags}, headers, outcome)

    async def referrers(
        self,
        remote: RemoteRepository,
        subject: Digest,
        query: Mapping[str, str],
        extra: Headers,
    ) -> Response:
        """Return the referrers of a manifest, filtered by `artifactType` if requested. Raise RegistryError."""
        artifact_type = query.get("artifactType")
        raw, outcome = await self._referrers.get(remote, subject, artifact_type)
        headers = [("Content-Type", media_types.OCI_INDEX), *outcome_headers(outcome), *extra]
        if artifact_type:
            headers.append(("OCI-Filters-Applied", "artifactType"))
        return Response(200, headers, raw, result=outcome.value)

    def catalog(self, registry: str | None, query: Mapping[str, str], extra: Headers) -> Response:
        """Return one page of the cached repositories: of one registry, or of all with the registry as prefix."""
        size = _page_size(query)
        limit = _DEFAULT_CATALOG_PAGE if size is None else min(size, MAX_CATALOG_PAGE)
        last = query.get("last", "")
        sources, more = self._catalog.get(
            registry, limit, f"{registry}/{last}" if registry and last else last
        )
        names = [str(source.repository) if registry else str(source) for source in sources]
        headers = [*outcome_headers(Outcome.HIT), *extra]
        if more and names:
            following = {"n": str(limit), "last": names[-1]}
            headers.append(_next_page("/v2/_catalog", query, following))
        return json_response({"repositories": names}, headers)


def _accepts_stale(request: Request) -> bool:
    """Return whether the request accepts a stale response (RFC 9111, section 5.2.1.2)."""
    directives = request.headers.get("cache-control", "").lower().split(",")
    return any(directive.partition("=")[0].strip() == "max-stale" for directive in directives)


def _page_size(query: Mapping[str, str]) -> int | None:
    text = query.get("n")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise RegistryError(ErrorCode.PAGINATION_NUMBER_INVALID, "`n` is not a number")
    return int(text)


def _next_page(path: str, query: Mapping[str, str], following: Mapping[str, str]) -> tuple[str, str]:
    # Build the header from parsed values only, never from request text.
    namespace = {"ns": query["ns"]} if "ns" in query else {}
    return ("Link", f'<{path}?{urlencode({**following, **namespace})}>; rel="next"')
