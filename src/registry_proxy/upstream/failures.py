"""Translation of exceptions and error responses into the `UpstreamError`s of `base`. Pure."""

from __future__ import annotations

import os
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from registry_proxy.oci.documents import InvalidDocumentError, decode_document
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from yarl import URL

_MAX_EXCERPT = 200  # characters
_MAX_RETRY_AFTER = 24 * 3600  # seconds


class RedirectRefusedError(UpstreamBrokenError):
    """A redirect to a forbidden address, or a redirect loop."""


class TokenRefusedError(UpstreamBrokenError):
    """The token service does not accept the request. It does not mean that the content is missing or refused."""


class _ErrorEntry(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorDocument(msgspec.Struct):
    errors: list[_ErrorEntry] = []
    details: str = ""  # sent by Docker Hub's token service and some others instead of `errors`
    message: str = ""


def describe(method: str, url: URL) -> str:
    """Return a request as text for messages."""
    return f"{method} {without_secrets(url)}"


def without_secrets(url: URL) -> URL:
    """Return the URL without its query, which can hold a signature, and without user and password."""
    return url.with_query(None).with_fragment(None).with_user(None)


def error_code(body: bytes) -> str:
    """Return the first error code of a body (distribution-spec, "Error Codes"), or an empty text."""
    try:
        response = decode_document(body, _ErrorDocument)
    except InvalidDocumentError:
        return ""
    return response.errors[0].code if response.errors else ""


def excerpt(body: bytes) -> str:
    """Return the first error message of a body, or its plain text: printable, at most 200 characters."""
    try:
        response = decode_document(body, _ErrorDocument)
    except InvalidDocumentError:
        text = body.decode(errors="replace")
        text = "" if text.lstrip().startswith("<") else text
    else:
        first = response.errors[0] if response.errors else _ErrorEntry()
        text = first.message or first.code or response.details or response.message
    # Control characters and bidirectional overrides would let an upstream forge log lines and terminal output.
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_EXCERPT])
    return " ".join(printable.split())[:_MAX_EXCERPT]


def retry_after(header: str | None, now: float) -> int | None:
    """Return the seconds of a `Retry-After` (RFC 9110, section 10.2.3), at most a day; None if it is invalid."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0, round(seconds)), _MAX_RETRY_AFTER)


def refusal(request: str, status: int, message: str, wait: int | None) -> UpstreamError:
    """Return the error of a response without the requested content. `message` is the excerpt of its body."""
    text = f"{request} returned {status} {_phrase(status)}{f': {message}' if message else ''}"
    match status:
        case 401:
            # Docker Hub and others issue a token for any name, and return 401 for a name that does not exist.
            return UpstreamDeniedError(f"{text}; the repository is missing, or private", login_required=True)
        case 404 | 410:
            return UpstreamNotFoundError(text)
        case 429:
            return UpstreamLimitedError(text, retry_after=wait)
        case 408:
            return UpstreamTimeoutError(text)
        # 403, 400 and others: clients choose the names. A name that upstream rejects means neither that upstream is
        # broken, nor that it has deleted content.
        case _ if 400 <= status < 500:
            return UpstreamDeniedError(text, login_required=False)
        case _:
            return UpstreamBrokenError(text)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def reason(error: Exception) -> str:
    """Return the cause of a failed request as text, which never contains the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            text = f"the server's certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            text = f"the name {error.host} can't be resolved"
        case aiohttp.ClientConnectorError():
            text = f"can't connect: {_os_message(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            text = "the connection was closed without a response"
        case OSError():
            text = f"the connection broke: {_os_message(error)}"
        case aiohttp.ClientPayloadError():
            text = "the body is incomplete"
        case aiohttp.ClientResponseError():
            text = "the response is not valid HTTP"
        case _:
            text = f"the request failed: {type(error).__name__}"
    return text


def _os_message(error: OSError) -> str:
    """Return the system's message: asyncio's messages have the address of the peer, but not the cause."""
    if error.errno and not isinstance(error, ssl.SSLError):  # OpenSSL's error numbers are not the system's
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
