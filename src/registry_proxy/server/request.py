"""Requests: the parts that a registry requires, and their parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.policy.access import Address

_MAX_HEAD = 32 * 1024  # bytes
_MAX_HEADERS = 100
_MAX_TARGET = 4 * 1024  # bytes
_READ_METHODS = frozenset({"GET", "HEAD"})
# Without a user, which has no place in an HTTP target (RFC 9110, section 4.2.4).
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)([/?].*)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a connection: its address, and the names of its verified certificate, if there is one."""

    address: Address | None
    certificate_names: tuple[str, ...] = ()


@dataclass(slots=True)
class Request:
    """A request without its body, because pulls have none. Header names are in lower case."""

    method: str
    target: str
    host: str
    headers: dict[str, str]
    keep_alive: bool
    client: Client


class RefusedRequestError(Exception):
    """The bytes are not an acceptable request. Nothing after them can be parsed either."""


class RequestReader:
    """Parser of a connection's requests. It calls `receive` with each request when the headers are complete.

    llhttp is strict about line ends, folding, lengths and encodings (RFC 9112, sections 2.2, 5.2, 6.1). This class
    checks for two hosts, sizes and bodies. A request with a body is the last one of its connection, and its body is not
    read.
    """

    def __init__(self, receive: Callable[[Request], None], client: Client) -> None:
        self._receive = receive
        self._client = client
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: str | None = None
        self._ended = False
        self._has_just_begun = False
        self.on_message_begin()
        self.is_idle = True

    def feed(self, data: bytes | memoryview) -> None:
        """Parse bytes of the connection. Raise RefusedRequestError."""
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is the last one of the connection
        except httptools.HttpParserError as error:
            if not self._ended:
                self._ended = True
                raise RefusedRequestError(self._refusal or f"the request is malformed: {error}") from None
        if not self.is_idle and not self._ended:
            # Most of the data in which a request begins may belong to the requests before it.
            self._head_bytes += 0 if self._has_just_begun else len(data)
            self._has_just_begun = False
            if self._head_bytes > 2 * _MAX_HEAD:
                self._ended = True
                raise self._refused("the request's headers are too large")

    def close(self) -> None:
        """Drop the parser and the receiver, which refer back to this object: the collector would find them late."""
        self._ended = True
        del self._parser, self._receive

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        self.is_idle = False
        self._target = b""
        self._host: str | None = None
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._head_bytes = 0
        self._has_just_begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > _MAX_TARGET:
            raise self._refused("the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._head_bytes += len(name) + len(value)
        if self._header_count > _MAX_HEADERS or self._head_bytes > _MAX_HEAD:
            raise self._refused("the request's headers are too large")
        key = name.lower().decode("latin-1")
        if key == "host":
            # RFC 9112, section 3.2: two hosts, and none in HTTP/1.1, are errors.
            if self._host is not None:
                raise self._refused("the request has two Host headers")
            self._host = value.decode("latin-1").lower()
        elif key in self._headers:
            self._headers[key] += ", " + value.decode("latin-1")
        else:
            self._headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise self._refused("this server speaks HTTP/1.1")
        if self._host is None and version != "1.0":
            raise self._refused("the request has no Host header")
        method = self._parser.get_method().decode("latin-1")
        has_body = "transfer-encoding" in self._headers or self._headers.get("content-length", "0") != "0"
        # Upgrades may be ignored (RFC 9110, section 7.8), but the parser stops after one.
        can_continue = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        last = has_body or method not in _READ_METHODS or not can_continue
        host, target = self._host or "", self._target.decode("latin-1")
        if not target.startswith("/"):
            host, target = _origin_form(host, target)
        request = Request(method, target, host, self._headers, not last, self._client)
        self.is_idle = True
        self._ended = last
        self._receive(request)

    def _refused(self, reason: str) -> RefusedRequestError:
        """Return the error to raise, and keep its reason, because the parser drops it."""
        self._refusal = reason
        return RefusedRequestError(reason)


def _origin_form(host: str, target: str) -> tuple[str, str]:
    """Return host and target of an absolute target, whose host takes precedence (RFC 9112, section 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return host, target
    path = absolute[2] or "/"
    return absolute[1].lower(), path if path.startswith("/") else f"/{path}"
