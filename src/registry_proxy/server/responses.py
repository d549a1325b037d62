"""Answers: status codes, headers and the registry's JSON errors. The only place that knows HTTP status codes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.gate import LoginRequiredError

if TYPE_CHECKING:
    from registry_proxy.cache.results import Body
    from registry_proxy.observe.counters import Tally
    from registry_proxy.oci.digest import Digest

Headers = list[tuple[str, str]]

_STATUS = {
    ErrorCode.BLOB_UNKNOWN: 404,
    ErrorCode.DENIED: 403,
    ErrorCode.DIGEST_INVALID: 400,
    ErrorCode.MANIFEST_INVALID: 400,
    ErrorCode.MANIFEST_UNKNOWN: 404,
    ErrorCode.NAME_INVALID: 400,
    ErrorCode.NAME_UNKNOWN: 404,
    ErrorCode.PAGINATION_NUMBER_INVALID: 400,
    ErrorCode.REQUEST_INVALID: 400,
    ErrorCode.TAG_INVALID: 400,
    ErrorCode.TOOMANYREQUESTS: 429,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNSUPPORTED: 405,
    ErrorCode.UPSTREAM_BROKEN: 502,
    ErrorCode.UPSTREAM_TIMEOUT: 504,
}

# RFC 9211. A stale answer is a hit; what upstream was asked for is forwarded (`fwd`).
_CACHE_STATUS = {
    Outcome.HIT: "registry-proxy; hit",
    Outcome.STALE: "registry-proxy; hit; detail=stale",
    Outcome.REVALIDATED: "registry-proxy; fwd=stale; detail=revalidated",
    Outcome.MISS: "registry-proxy; fwd=uri-miss; stored",
    Outcome.JOINED: "registry-proxy; fwd=uri-miss; collapsed; stored",
    Outcome.PASSED: "registry-proxy; fwd=uri-miss; detail=pass-through",
    Outcome.ASKED: "registry-proxy; fwd=uri-miss",
}

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_REASON = 300

_COMMON = (
    ("Docker-Distribution-Api-Version", "registry/2.0"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(slots=True)
class Response:
    """An answer that is all there.

    `length` is for a HEAD whose body was not made; `reason` explains the status. What has an `outcome` came from the
    cache or an upstream; then `tally` is where its bytes are counted.
    """

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False
    length: int | None = None
    reason: str = ""
    outcome: Outcome | None = None
    tally: Tally | None = None


@dataclass(slots=True)
class BlobResponse:
    """An answer with the bytes `start` to `stop` of a blob's body, which whoever sends it closes."""

    status: int
    headers: Headers
    body: Body
    start: int
    stop: int
    outcome: Outcome
    tally: Tally | None = None


def outcome_headers(outcome: Outcome) -> Headers:
    """How the answer came about (RFC 9211; RFC 7234, section 5.5.1, for those who still look for the warning)."""
    headers = [("Cache-Status", _CACHE_STATUS[outcome])]
    if outcome is Outcome.STALE:
        headers.append(("Warning", '110 registry-proxy "Response is Stale"'))
    return headers


def content_headers(digest: Digest, media_type: str) -> Headers:
    """What describes content by digest."""
    return [("Content-Type", media_type), ("Docker-Content-Digest", str(digest)), ("ETag", f'"{digest}"')]


def json_response(document: object, headers: Headers, outcome: Outcome | None = None) -> Response:
    """An answer with a JSON document."""
    content_type = ("Content-Type", "application/json")
    return Response(200, [content_type, *headers], msgspec.json.encode(document), outcome=outcome)


def error_response(error: RegistryError, *, close: bool = False) -> Response:
    """The registry's JSON form (distribution-spec, "Error Codes")."""
    entry = {"code": error.code, "message": error.message, "detail": error.detail}
    headers = [("Content-Type", "application/json"), ("Cache-Status", f"registry-proxy; detail={error.code}")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, LoginRequiredError):
        headers.append(("WWW-Authenticate", 'Basic realm="registry-proxy", charset="UTF-8"'))
    if error.code is ErrorCode.UNSUPPORTED:
        headers.append(("Allow", "GET, HEAD"))
    body = msgspec.json.encode({"errors": [entry]})
    return Response(_STATUS[error.code], headers, body, close, reason=error.message)


def internal_error() -> Response:
    """A defect of our own: the log has the details."""
    entry = {"code": "UNKNOWN", "message": "the cache failed; its log says why", "detail": {}}
    headers = [("Content-Type", "application/json"), ("Cache-Status", "registry-proxy; detail=UNKNOWN")]
    return Response(500, headers, msgspec.json.encode({"errors": [entry]}))


def matches_etag(header: str | None, digest: Digest) -> bool:
    """Whether an `If-None-Match` names this content (RFC 9110, section 13.1.2)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or str(digest) in tags


def encode_head(status: int, headers: Headers, length: int | None, *, close: bool, reason: str = "") -> bytes:
    """The head of an answer up to its `Date`, which `Dates.end_of_head` adds."""
    lines = [f"HTTP/1.1 {status} {_phrase(status, reason)}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *_COMMON)]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def _phrase(status: int, reason: str) -> str:
    """The reason phrase (RFC 9112, section 4). Docker, podman, skopeo and containerd show it to their users where they
    don't look at the body: of a 5xx, and containerd of any error."""
    phrase = HTTPStatus(status).phrase
    return f"{phrase}: {_UNPRINTABLE.sub(' ', reason)[:_MAX_REASON]}" if reason else phrase
