"""The registry API as an application: from a request to its response."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from registry_proxy.aio.fair_limit import current_client
from registry_proxy.cache.failures import index_failure
from registry_proxy.index.base import IndexFailedError
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.blobs import BlobEndpoint
from registry_proxy.server.failure_log import log_failure
from registry_proxy.server.listings import ListingEndpoint
from registry_proxy.server.manifests import ManifestEndpoint
from registry_proxy.server.responses import (
    BlobResponse,
    CachedResponse,
    Response,
    ResponseCache,
    error_response,
    internal_error,
    json_response,
)
from registry_proxy.server.routes import (
    BlobOf,
    CatalogOf,
    ManifestOf,
    Ping,
    ReferrersOf,
    RepositoryEndpoint,
    Router,
    TagsOf,
    parse_target,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.cache.cache import Cache
    from registry_proxy.oci.reference import Repository
    from registry_proxy.server.gate import Gate
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)


class App:
    """The read-only registry API over a cache."""

    def __init__(self, cache: Cache, router: Router[Upstream], gate: Gate) -> None:
        self._cache = cache
        self._router = router
        self._gate = gate
        self._responses = ResponseCache()
        self._manifests = ManifestEndpoint(cache.manifests, self._responses)
        self._blobs = BlobEndpoint(cache.blobs)
        self._listings = ListingEndpoint(cache.tags, cache.referrers, cache.catalog)

    def reconfigure(self, router: Router[Upstream], gate: Gate) -> None:
        """Use other upstreams and access rules from now on. Requests in progress keep theirs."""
        self._router = router
        self._gate = gate
        self._responses.clear()

    def forget(self) -> None:
        """Drop everything cached in memory, because content was removed from the store."""
        self._responses.clear()
        self._cache.forget()

    def cached(self, request: Request, now: float) -> CachedResponse | None:
        """Return the cached response to a request, without waiting; None if there is none, or to check access."""
        if "if-none-match" in request.headers:
            return None
        cached = self._responses.get(request.host, request.target, now)
        if cached is None:
            return None
        if not self._gate.is_open and not self._gate.is_known_allowed(request, cached.registry):
            return None
        self._cache.touch(cached.digest)
        return cached

    async def respond(self, request: Request) -> Response | BlobResponse:
        """Return the response to any request. Only CancelledError can be raised."""
        current_client.set(self._gate.address(request))
        try:
            return await self._respond(request)
        except RegistryError as error:
            log_failure(request, error)
            return error_response(error)
        except IndexFailedError as error:
            log.error("%s %s failed: %s", request.method, request.target[:300], error)  # noqa: TRY400
            return error_response(index_failure(error))
        except Exception:
            log.exception("%s %s failed; please report this", request.method, request.target[:300])
            return internal_error()

    async def _respond(self, request: Request) -> Response | BlobResponse:
        if request.method not in {"GET", "HEAD"}:
            raise RegistryError(
                ErrorCode.UNSUPPORTED, "this is a read-only cache: push to the registry itself"
            )
        endpoint, query = parse_target(request.target)
        if isinstance(endpoint, Ping | CatalogOf):
            return await self._respond_locally(request, endpoint, query)
        namespace = query.get("ns")
        try:
            upstream, name = self._router.route(request.host, namespace, endpoint.name)
        except RegistryError:
            await self._gate.admit(
                request, None
            )  # the error lists the registries, so only allowed clients get it
            raise
        if not self._gate.is_open:
            await self._gate.admit(request, upstream.registry)
        try:
            response = await self._pull(request, endpoint, upstream, name, query)
        except RegistryError as error:
            error.detail.setdefault("upstream", upstream.registry)
            raise
        response.registry = upstream.registry
        return response

    async def _pull(
        self,
        request: Request,
        endpoint: RepositoryEndpoint,
        upstream: Upstream,
        name: Repository,
        query: Mapping[str, str],
    ) -> Response | BlobResponse:
        """Return the response to an allowed request for a repository. Raise RegistryError."""
        remote, namespace = upstream.repository(name), query.get("ns")
        # containerd sends `ns` and expects a namespace in the response: the configured name, never the request's text.
        extra = [("OCI-Namespace", upstream.registry)] if namespace is not None else []
        match endpoint:
            case ManifestOf(reference=reference):
                return await self._manifests.get(request, remote, reference, extra)
            case BlobOf(digest=digest):
                read = self._blobs.head if request.method == "HEAD" else self._blobs.get
                return await read(request, remote, digest, extra)
            case TagsOf(name=requested):
                return await self._listings.tags(request, requested, remote, query, extra)
            case ReferrersOf(subject=subject):
                return await self._listings.referrers(remote, subject, query, extra)
            case _:
                assert_never(endpoint)

    async def _respond_locally(
        self, request: Request, endpoint: Ping | CatalogOf, query: Mapping[str, str]
    ) -> Response:
        """Return the response to the API version check or to a request for the catalog. Raise RegistryError."""
        namespace = query.get("ns")
        try:
            upstream = self._router.select(request.host, namespace)
        except RegistryError:
            await self._gate.admit(request, None)
            raise
        if isinstance(endpoint, Ping):
            await self._gate.admit(request, upstream.registry if upstream else None)
            return json_response({}, [("Cache-Status", "registry-proxy; detail=local")])
        if upstream is None:
            await self._gate.admit_to_all(request)
            return self._listings.catalog(None, query, [])
        await self._gate.admit(request, upstream.registry)
        extra = [("OCI-Namespace", upstream.registry)] if namespace is not None else []
        return self._listings.catalog(upstream.registry, query, extra)
