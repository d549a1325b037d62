"""From a request to its answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar, assert_never

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.blobs import BlobEndpoint
from registry_proxy.server.listings import ListingEndpoint
from registry_proxy.server.manifests import ManifestEndpoint
from registry_proxy.server.response_cache import CachedResponse, ResponseCache
from registry_proxy.server.responses import (
    BlobResponse,
    Headers,
    Response,
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
    Router,
    TagsOf,
    parse_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry_proxy.cache.cache import Cache
    from registry_proxy.observe.counters import Counters
    from registry_proxy.oci.reference import Repository
    from registry_proxy.server.gate import Gate
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class App:
    """The registry API, for reading, over a cache."""

    def __init__(self, cache: Cache, router: Router[Upstream], gate: Gate, counters: Counters) -> None:
        self._cache = cache
        self._router = router
        self._gate = gate
        self._counters = counters
        self._memo = ResponseCache()
        self._manifests = ManifestEndpoint(cache.manifests, self._memo, counters)
        self._blobs = BlobEndpoint(cache.blobs)
        self._listings = ListingEndpoint(cache.tags, cache.referrers, cache.catalog)

    def reconfigure(self, router: Router[Upstream], gate: Gate) -> None:
        """Other upstreams and rules from now on; requests under way keep theirs."""
        self._router = router
        self._gate = gate
        self._memo.clear()

    def forget(self) -> None:
        """Something was removed from the cache: nothing that is kept in memory counts any more."""
        self._memo.clear()
        self._cache.forget()

    def cached(self, request: Request, now: float) -> CachedResponse | None:
        """The answer to a request that was answered a moment ago, without any waiting."""
        if "if-none-match" in request.headers:
            return None
        prepared = self._memo.get(request.host, request.target, now)
        if prepared is None or not self._gate.admits_at_once(request, prepared.registry):
            return None
        self._cache.touch(prepared.digest)
        return prepared

    async def respond(self, request: Request) -> Response | BlobResponse:
        """The answer to any request. Never raises but when cancelled."""
        try:
            return await self._respond(request)
        except RegistryError as error:
            return error_response(error)
        except Exception:
            log.exception("%s %s failed; please report this", request.method, request.target[:300])
            return internal_error()

    async def _respond(self, request: Request) -> Response | BlobResponse:
        if request.method not in {"GET", "HEAD"}:
            raise RegistryError(
                ErrorCode.UNSUPPORTED, "this is a read-only cache: push to the registry itself"
            )
        endpoint, query = parse_target(request.target)
        namespace = query.get("ns")
        match endpoint:
            case Ping():
                selected = await self._told(request, lambda: self._router.select(request.host, namespace))
                await self._gate.admit(request, selected.registry if selected else None)
                return json_response({}, [("Cache-Status", "registry-proxy; detail=local")])
            case CatalogOf():
                selected = await self._told(request, lambda: self._router.select(request.host, namespace))
                await (
                    self._gate.admit(request, selected.registry)
                    if selected
                    else self._gate.admit_to_all(request)
                )
                return self._listings.catalog(selected, query, _namespace(selected, namespace))
        name = endpoint.name
        upstream, repository = await self._told(
            request, lambda: self._router.route(request.host, namespace, name)
        )
        await self._gate.admit(request, upstream.registry)
        response = await self._read(request, endpoint, query, upstream, repository)
        if response.outcome is not None:
            response.tally = self._counters.of(upstream.registry)
            response.tally.count(response.outcome.value)
        return response

    async def _read(
        self,
        request: Request,
        endpoint: ManifestOf | BlobOf | TagsOf | ReferrersOf,
        query: Mapping[str, str],
        upstream: Upstream,
        repository: Repository,
    ) -> Response | BlobResponse:
        extra = _namespace(upstream, query.get("ns"))
        match endpoint:
            case ManifestOf(reference=reference):
                return await self._manifests.get(request, upstream, repository, reference, extra)
            case BlobOf(digest=digest):
                answer = self._blobs.head if request.is_head else self._blobs.get
                return await answer(request, upstream, repository, digest, extra)
            case TagsOf(name=name):
                return await self._listings.tags(name, upstream, repository, query, extra)
            case ReferrersOf(subject=subject):
                return await self._listings.referrers(upstream, repository, subject, query, extra)
            case _:
                assert_never(endpoint)

    async def _told(self, request: Request, find: Callable[[], Found]) -> Found:
        """What `find` finds. Its error tells which registries there are, so it is for those who may pull."""
        try:
            return find()
        except RegistryError:
            await self._gate.admit(request, None)
            raise


def _namespace(upstream: Upstream | None, namespace: str | None) -> Headers:
    """containerd asks with `ns` and looks for the answer of that namespace; the value is ours, not the request's."""
    return [("OCI-Namespace", upstream.registry)] if upstream is not None and namespace is not None else []
