"""`/v2/NAME/manifests/REFERENCE`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.cache.results import Outcome
from registry_proxy.server.response_cache import CachedResponse, ResponseCache
from registry_proxy.server.responses import (
    Headers,
    Response,
    content_headers,
    encode_head,
    matches_etag,
    outcome_headers,
)

if TYPE_CHECKING:
    from registry_proxy.cache.manifests.manifests import Manifests
    from registry_proxy.cache.results import ServedManifest
    from registry_proxy.observe.counters import Counters
    from registry_proxy.oci.reference import Reference, Repository
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import Upstream


class ManifestEndpoint:
    """Answers for manifests; those that will be good for a while go to the memo."""

    def __init__(self, manifests: Manifests, memo: ResponseCache, counters: Counters) -> None:
        self._manifests = manifests
        self._memo = memo
        self._counters = counters

    async def get(
        self,
        request: Request,
        upstream: Upstream,
        repository: Repository,
        reference: Reference,
        extra: Headers,
    ) -> Response:
        """The manifest, or 304 for a client that has it. Raises RegistryError."""
        served = await self._manifests.get(upstream, repository, reference)
        if served.fresh_until:
            self._remember(request, upstream.registry, served, extra)
        headers = _headers(served, served.outcome, extra)
        if matches_etag(request.headers.get("if-none-match"), served.manifest.digest):
            return Response(304, headers, outcome=served.outcome)
        return Response(200, headers, served.manifest.raw, outcome=served.outcome)

    def _remember(self, request: Request, registry: str, served: ServedManifest, extra: Headers) -> None:
        manifest = served.manifest
        head = encode_head(200, _headers(served, Outcome.HIT, extra), len(manifest.raw), close=False)
        tally = self._counters.of(registry)
        self._memo.put(
            request.host,
            request.target,
            CachedResponse(head, manifest.raw, manifest.digest, registry, served.fresh_until, tally),
        )


def _headers(served: ServedManifest, outcome: Outcome, extra: Headers) -> Headers:
    described = content_headers(served.manifest.digest, served.manifest.media_type)
    return [*described, *outcome_headers(outcome), *extra]
