"""Endpoint of `/v2/NAME/blobs/DIGEST`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.oci.ranges import UnsatisfiableRangeError, select_range
from registry_proxy.server.responses import (
    BlobResponse,
    Headers,
    Response,
    content_headers,
    matches_etag,
    outcome_headers,
)

if TYPE_CHECKING:
    from registry_proxy.cache.blobs.blobs import Blobs
    from registry_proxy.cache.results import ServedBlob
    from registry_proxy.oci.reference import Digest
    from registry_proxy.server.request import Request
    from registry_proxy.upstream.base import RemoteRepository

_MEDIA_TYPE = "application/octet-stream"


class BlobEndpoint:
    """Responses with blobs, complete or one range."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def get(
        self, request: Request, remote: RemoteRepository, digest: Digest, extra: Headers
    ) -> Response | BlobResponse:
        """Return the blob. Raise RegistryError."""
        served = await self._blobs.get(remote, digest)
        headers = [*content_headers(digest, _MEDIA_TYPE), *outcome_headers(served.outcome), *extra]
        if "if-none-match" in request.headers and matches_etag(request.headers["if-none-match"], digest):
            served.body.close()
            return Response(304, headers, result=served.outcome.value)
        headers.append(("Accept-Ranges", "bytes"))
        if "range" in request.headers:
            return _range_of(request, served, headers)
        return BlobResponse(200, headers, served.body, 0, served.body.size, served.outcome.value)

    async def head(
        self, request: Request, remote: RemoteRepository, digest: Digest, extra: Headers
    ) -> Response:
        """Return the blob's size. Raise RegistryError."""
        served = await self._blobs.head(remote, digest)
        headers = [*content_headers(digest, _MEDIA_TYPE), *outcome_headers(served.outcome), *extra]
        if "if-none-match" in request.headers and matches_etag(request.headers["if-none-match"], digest):
            return Response(304, headers, result=served.outcome.value)
        # `Range` is ignored for HEAD (RFC 9110, section 14.2).
        headers.append(("Accept-Ranges", "bytes"))
        return Response(200, headers, length=served.size, result=served.outcome.value)


def _range_of(request: Request, served: ServedBlob, headers: Headers) -> Response | BlobResponse:
    size, result = served.body.size, served.outcome.value
    try:
        part = select_range(_range_header(request, served.digest), size)
    except UnsatisfiableRangeError:
        served.body.close()
        return Response(416, [*headers, ("Content-Range", f"bytes */{size}")], result=result)
    if part is None:
        return BlobResponse(200, headers, served.body, 0, size, result)
    headers.append(("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}"))
    return BlobResponse(206, headers, served.body, part.start, part.stop, result)


def _range_header(request: Request, digest: Digest) -> str | None:
    """Return the `Range`, unless an `If-Range` is for other content (RFC 9110, section 13.1.5)."""
    condition = request.headers.get("if-range")
    if condition is not None and condition.strip() != f'"{digest}"':
        return None
    return request.headers.get("range")
