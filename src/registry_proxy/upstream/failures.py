"""What a failure of an upstream is called. Pure: from exceptions and answers to the errors of `base`."""

from __future__ import annotations

import os
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import msgspec

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

_MAX_EXCERPT = 200
_MAX_RETRY_AFTER = 24 * 3600


class RedirectRefusedError(UpstreamBrokenError):
    """The upstream sends us where we don't go, or in a circle."""


class _ErrorEntry(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorAnswer(msgspec.Struct):
    errors: list[_ErrorEntry] = []
    details: str = ""  # what Docker Hub's token service and some others send instead
    message: str = ""


def describe(method: str, url: URL) -> str:
    """A request, for people."""
    return f"{method} {without_secrets(url)}"


def without_secrets(url: URL) -> URL:
    """The URL without its query, which can hold a signature, and without a user and password."""
    return url.with_query(None).with_fragment(None).with_user(None)


def excerpt(body: bytes) -> str:
    """What an upstream says of its error: its first message, or its plain text; printable, at most 200 characters."""
    try:
        response = msgspec.json.decode(body, type=_ErrorAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body.decode(errors="replace")
        text = "" if text.lstrip().startswith("<") else text
    else:
        first = response.errors[0] if response.errors else _ErrorEntry()
        text = first.message or first.code or response.details or response.message
    # Control characters and bidirectional overrides would let an upstream forge what a log or a terminal shows.
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_EXCERPT])
    return " ".join(printable.split())[:_MAX_EXCERPT]


def retry_after(header: str | None, now: float) -> int | None:
    """Seconds to wait by a `Retry-After` (RFC 9110, section 10.2.3), at most a day; None when it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return min(max(0, round(seconds)), _MAX_RETRY_AFTER)


def refusal(what: str, status: int, said: str, wait: int | None) -> UpstreamError:
    """The error for an answer that is not the content asked for; `said` is the upstream's excerpt."""
    text = f"{what} was answered {status} {_phrase(status)}{f': {said}' if said else ''}"
    match status:
        case 401:
            # Docker Hub and others give a token for any name, and then 401 for one that doesn't exist.
            return UpstreamDeniedError(f"{text}; the repository is missing, or private", login_required=True)
        case 404 | 410:
            return UpstreamNotFoundError(text)
        case 429:
            return UpstreamLimitedError(text, retry_after=wait)
        case 408:
            return UpstreamTimeoutError(text)
        # 403, and 400 and the like: names come from clients, and one that an upstream finds odd neither makes it a
        # broken upstream nor means that it has deleted something.
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
    """Why a request failed, in words that never hold its URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            text = f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            text = f"the name {error.host} can't be resolved"
        case aiohttp.ClientConnectorError():
            text = f"can't connect: {_said(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            text = "the connection was closed without an answer"
        case OSError():
            text = f"the connection broke: {_said(error)}"
        case aiohttp.ClientPayloadError():
            text = "the body broke off"
        case aiohttp.ClientResponseError():
            text = "the answer is not valid HTTP"
        case _:
            text = f"the request failed: {type(error).__name__}"
    return text


def _said(error: OSError) -> str:
    """The system's words: asyncio's own tell where it connected to, and not what is wrong."""
    if error.errno and not isinstance(error, ssl.SSLError):  # whose numbers are its own
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
