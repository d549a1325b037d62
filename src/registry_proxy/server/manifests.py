"""Endpoint of `/v2/NAME/manifests/REFERENCE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.cache.results import Outcome
from registry_proxy.server.responses import (
    SMALL_BODY,
    BlobResponse,
    CachedResponse,
    Headers,
    Response,
    ResponseCache,
    content_headers,
    encode_head,
    matches_etag,
    outcome_headers,
)

if TYPE_CHECKING:
    from registry_proxy.cache.manifests.manifests import Manifests
    from registry_proxy.cache.results import ServedManifest
    from registry_proxy.oci.reference import Reference
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import RemoteRepository


class ManifestEndpoint:
    """Responses with manifests. Small ones that stay fresh for some time go to the response cache.

    Large ones are sent from their file, so that a client that reads slowly does not keep them in memory.
    """

    def __init__(self, manifests: Manifests, responses: ResponseCache) -> None:
        self._manifests = manifests
        self._responses = responses

    async def get(
        self, request: Request, remote: RemoteRepository, reference: Reference, extra: Headers
    ) -> Response | BlobResponse:
        """Return the manifest, or 304 to a client that has it. Raise RegistryError."""
        served = await self._manifests.get(remote, reference)
        described = [*content_headers(served.manifest.digest, served.manifest.media_type), *extra]
        raw = served.manifest.raw
        if served.fresh_until and len(raw) <= SMALL_BODY:
            self._keep(request, remote.source.registry, served, described)
        headers = [*described, *outcome_headers(served.outcome)]
        etags = request.headers.get("if-none-match")
        if etags is not None and matches_etag(etags, served.manifest.digest):
            return Response(304, headers, result=served.outcome.value)
        if len(raw) > SMALL_BODY and request.method == "GET":
            body = await self._manifests.body(served.manifest.digest)
            if body is not None:
                return BlobResponse(200, headers, body, 0, len(raw), served.outcome.value)
        return Response(200, headers, raw, result=served.outcome.value)

    def _keep(self, request: Request, registry: str, served: ServedManifest, described: Headers) -> None:
        manifest = served.manifest
        headers = [*described, *outcome_headers(Outcome.HIT)]
        head = encode_head(200, headers, len(manifest.raw), close=False)
        fresh = (served.fresh_from, served.fresh_until)
        cached = CachedResponse(head, manifest.raw, manifest.digest, registry, *fresh)
        self._responses.put(request.host, request.target, cached)
