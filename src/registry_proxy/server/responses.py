"""Responses: classes, heads, the registry's JSON errors, and the response cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.cache.results import Outcome
from registry_proxy.observe.observer import LOCAL
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.logins import LoginRequiredError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.cache.results import Body
    from registry_proxy.oci.reference import Digest

Headers = list[tuple[str, str]]

_STATUS = {
    ErrorCode.BLOB_UNKNOWN: 404,
    ErrorCode.DENIED: 403,
    ErrorCode.DIGEST_INVALID: 400,
    ErrorCode.MANIFEST_UNKNOWN: 404,
    ErrorCode.NAME_INVALID: 400,
    ErrorCode.NAME_UNKNOWN: 404,
    ErrorCode.PAGINATION_NUMBER_INVALID: 400,
    ErrorCode.REQUEST_INVALID: 400,
    ErrorCode.TAG_INVALID: 400,
    ErrorCode.TOOMANYREQUESTS: 429,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.UNSUPPORTED: 405,
    ErrorCode.UPSTREAM_BROKEN: 502,
    ErrorCode.UPSTREAM_TIMEOUT: 504,
}

# RFC 9211. A stale response is a hit; `fwd` means that a request went to the upstream.
_CACHE_STATUS = {
    Outcome.HIT: "registry-proxy; hit",
    Outcome.STALE: "registry-proxy; hit; detail=stale",
    Outcome.REVALIDATED: "registry-proxy; fwd=stale; detail=revalidated",
    Outcome.MISS: "registry-proxy; fwd=uri-miss; stored",
    Outcome.COLLAPSED: "registry-proxy; fwd=uri-miss; collapsed; stored",
    Outcome.PASS_THROUGH: "registry-proxy; fwd=uri-miss; detail=pass-through",
    Outcome.UPSTREAM: "registry-proxy; fwd=uri-miss",
}

# In bytes. Larger bodies are sent piece by piece, and are not in the response cache.
SMALL_BODY = 32 * 1024
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_REASON = 300
# In bytes. The response cache drops everything at this size: building a response again costs a few µs.
DEFAULT_CAPACITY = 8 * 1024 * 1024
_ENTRY_OVERHEAD = 1024

_COMMON = (
    ("Docker-Distribution-Api-Version", "registry/2.0"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(slots=True)
class Response:
    """A response with its whole body.

    `length` is for a HEAD without a generated body; `reason` explains the status. `registry` and `result` are for the
    observer (see `observe.observer`).
    """

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False
    length: int | None = None
    reason: str = ""
    registry: str | None = None
    result: str = LOCAL


@dataclass(slots=True)
class BlobResponse:
    """A response with the bytes `start` to `stop` of a blob's body. The sender closes the body."""

    status: int
    headers: Headers
    body: Body
    start: int
    stop: int
    result: str
    registry: str | None = None


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A response with a manifest, fresh from `fresh_from` until `fresh_until` (Unix seconds).

    `head` ends before the `Date` line.
    """

    head: bytes
    body: bytes
    digest: Digest
    registry: str
    fresh_from: float
    fresh_until: float


class ResponseCache:
    """Complete responses by the `Host` and the target of the request, up to `capacity` bytes."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._cached: dict[tuple[str, str], CachedResponse] = {}

    def get(self, host: str, target: str, now: float) -> CachedResponse | None:
        """Return the response, if it is still fresh."""
        cached = self._cached.get((host, target))
        return cached if cached is not None and cached.fresh_from <= now < cached.fresh_until else None

    def put(self, host: str, target: str, cached: CachedResponse) -> None:
        """Store a response."""
        if self._bytes > self._capacity:
            self.clear()
        self._cached[host, target] = cached
        # The client chooses host and target, which can be longer than the response.
        self._bytes += len(host) + len(target) + len(cached.head) + len(cached.body) + _ENTRY_OVERHEAD

    def clear(self) -> None:
        """Drop all responses, as after a change of the configuration."""
        self._cached.clear()
        self._bytes = 0


class Dates:
    """The time in seconds, and the `Date` line (RFC 9110, section 6.6.1) that ends a head, generated once per second.

    `clock` returns Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self._second = -1
        self._line = b""

    def end_of_head(self, now: float) -> bytes:
        """Return the `Date` line and the empty line that ends the head."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._line


def outcome_headers(outcome: Outcome) -> Headers:
    """Return the headers that show where the response comes from.

    RFC 9211; RFC 7234, section 5.5.1 for older clients.
    """
    headers = [("Cache-Status", _CACHE_STATUS[outcome])]
    if outcome is Outcome.STALE:
        headers.append(("Warning", '110 registry-proxy "Response is Stale"'))
    return headers


def content_headers(digest: Digest, media_type: str) -> Headers:
    """Return the headers that describe content."""
    return [("Content-Type", media_type), ("Docker-Content-Digest", str(digest)), ("ETag", f'"{digest}"')]


def json_response(document: object, headers: Headers, outcome: Outcome | None = None) -> Response:
    """Return a response with a JSON document."""
    content_type = ("Content-Type", "application/json")
    result = outcome.value if outcome else LOCAL
    return Response(200, [content_type, *headers], msgspec.json.encode(document), result=result)


def error_response(error: RegistryError, *, close: bool = False) -> Response:
    """Return the error in the registry's JSON form (distribution-spec, "Error Codes")."""
    entry = {"code": error.code, "message": error.message, "detail": error.detail}
    headers = [("Content-Type", "application/json"), ("Cache-Status", f"registry-proxy; detail={error.code}")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, LoginRequiredError):
        headers.append(("WWW-Authenticate", 'Basic realm="registry-proxy", charset="UTF-8"'))
    if error.code is ErrorCode.UNSUPPORTED:
        headers.append(("Allow", "GET, HEAD"))
    body = msgspec.json.encode({"errors": [entry]})
    registry = error.detail.get("upstream") if error.detail else None
    status = _STATUS[error.code]
    return Response(status, headers, body, close, reason=error.message, registry=registry, result=error.code)


def internal_error() -> Response:
    """Return the response to a request that failed because of a bug. The log has the details."""
    entry = {"code": "UNKNOWN", "message": "the cache failed; its log has the cause", "detail": {}}
    headers = [("Content-Type", "application/json"), ("Cache-Status", "registry-proxy; detail=UNKNOWN")]
    return Response(500, headers, msgspec.json.encode({"errors": [entry]}), result="UNKNOWN")


def matches_etag(header: str, digest: Digest) -> bool:
    """Return whether an `If-None-Match` matches this content (RFC 9110, section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or str(digest) in tags


def encode_head(status: int, headers: Headers, length: int | None, *, close: bool, reason: str = "") -> bytes:
    """Return the head of a response up to its `Date`, which `Dates.end_of_head` adds."""
    phrase = _phrase_with_reason(status, reason) if reason else HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *_COMMON)]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def _phrase_with_reason(status: int, reason: str) -> str:
    """Return the reason phrase (RFC 9112, section 4) with the cause of an error.

    Docker, podman, skopeo and containerd show it to their users when they ignore the body: all of them for a 5xx,
    containerd for any error.
    """
    return f"{HTTPStatus(status).phrase}: {_UNPRINTABLE.sub(' ', reason)[:_MAX_REASON]}"
