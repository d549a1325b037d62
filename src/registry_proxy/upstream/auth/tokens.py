"""Bearer tokens: requests to a token service, its responses, and a cache of valid tokens.

Source: the token authentication specification of the Docker registry (distribution/docs/spec/auth/token.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from cachetools import LRUCache

from registry_proxy.aio.tasks import SingleFlight
from registry_proxy.oci.documents import InvalidDocumentError, decode_document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.upstream.auth.credentials import Credentials

MAX_TOKEN_RESPONSE = 64 * 1024
# In seconds. The default is that of the specification for a response without `expires_in`.
_DEFAULT_LIFETIME = 60.0
_MAX_LIFETIME = 24 * 3600.0
_MARGIN = 15.0
_MAX_TOKENS = 500
# RFC 6750, section 2.1 (b64token), and other characters that registries use; no space or control character.
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class InvalidTokenResponseError(ValueError):
    """The token service's response contains no token."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The scope of a token, and the credentials that it is for.

    It is the key of the cache, so a token is used only for the credentials that obtained it.
    """

    realm: URL
    service: str | None
    scope: str
    credentials: Credentials | None

    def url(self) -> URL:
        """Return the URL of the GET request. Scopes are separated by spaces, and each is sent as a parameter."""
        query = [("service", self.service)] if self.service is not None else []
        query += [("scope", scope) for scope in self.scope.split()]
        return self.realm.extend_query(query)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token. It is not used after `expires_at` (Unix seconds)."""

    value: str
    expires_at: float

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"


class _TokenResponse(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: int | float | str | None = None


def parse_token(raw: bytes, now: float) -> Token:
    """Return the token in a response received at `now` (Unix seconds). Raise InvalidTokenResponseError."""
    try:
        response = decode_document(raw, _TokenResponse)
    except InvalidDocumentError as error:
        raise InvalidTokenResponseError(f"the response is not a token document: {error}") from None
    value = response.token or response.access_token
    if not value or not _TOKEN.fullmatch(value):
        raise InvalidTokenResponseError("the response contains no usable token")
    lifetime = _lifetime(response.expires_in)
    return Token(value, now + lifetime - min(_MARGIN, lifetime / 5))


def _lifetime(expires_in: float | str | None) -> float:
    try:
        seconds = float(expires_in) if expires_in is not None else _DEFAULT_LIFETIME
    except (ValueError, OverflowError):
        return _DEFAULT_LIFETIME
    return min(seconds, _MAX_LIFETIME) if seconds > 0 else _DEFAULT_LIFETIME


class TokenCache:
    """Tokens by request, and at most one running request to the token service for each."""

    def __init__(
        self,
        fetch: Callable[[TokenRequest], Awaitable[Token]],
        clock: Callable[[], float],
        background: BackgroundTasks,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        # Clients choose the repositories in scopes, so the number of tokens is bounded.
        self._tokens: LRUCache[TokenRequest, Token] = LRUCache(_MAX_TOKENS)
        self._single_flight: SingleFlight[Token] = SingleFlight(background)

    def get(self, request: TokenRequest) -> Token | None:
        """Return a token that has not expired."""
        token = self._tokens.get(request)
        return token if token is not None and self._clock() < token.expires_at else None

    async def obtain(self, request: TokenRequest) -> Token:
        """Return a new token. Concurrent calls share one request and its failure. Raise UpstreamError."""
        return await self._single_flight.do(request, partial(self._obtain, request))

    def forget(self, request: TokenRequest, value: str) -> None:
        """Drop a token that the registry refused. A newer one in its place stays."""
        token = self._tokens.get(request)
        if token is not None and token.value == value:
            del self._tokens[request]

    async def _obtain(self, request: TokenRequest) -> Token:
        token = await self._fetch(request)
        self._tokens[request] = token
        return token
