"""Authentication of requests: what to send first, and when and how to retry. It does no I/O itself."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cachetools import LRUCache

from registry_proxy.upstream.auth.schemes import BasicScheme, BearerScheme, Scheme, choose_scheme
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamDeniedError, UpstreamError
from registry_proxy.upstream.failures import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider, Credentials
    from registry_proxy.upstream.auth.realms import RealmRule
    from registry_proxy.upstream.auth.tokens import TokenCache, TokenRequest

# Redirects can lead to any number of hosts, so the number of cached schemes is bounded.
_MAX_ORIGINS = 64
_REQUEST_PATH = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/[^/]+")
_API = "/v2/"


class Challenged(Protocol):
    """The part of a response that authentication depends on."""

    @property
    def status(self) -> int: ...
    @property
    def www_authenticate(self) -> str:
        """The `WWW-Authenticate` values, joined by commas; empty if there is none."""
        ...

    async def discard(self) -> None:
        """Discard the response, because another attempt follows."""
        ...


ResponseT = TypeVar("ResponseT", bound=Challenged)


@dataclass(frozen=True, slots=True)
class _Grant:
    """The authorization of one attempt, by `scheme`.

    `fresh` means that a second try can't get a better one. `basic` are the credentials, if they are sent themselves.
    """

    authorization: str | None = None
    scheme: Scheme | None = None
    token: TokenRequest | None = None
    fresh: bool = True
    basic: Credentials | None = None

    def is_refused(self, status: int, *, is_storage: bool) -> bool:
        """Return whether the status can mean that this grant is invalid, has expired, is missing or is not wanted.

        400: Amazon's public registry, for an expired token, and storage that expects only the signature of the URL.
        403: some registries, for a token that expired early, and storage.
        """
        if status in (400, 403):
            return self.token is not None or is_storage
        return status == 401


_NOTHING = _Grant()


@dataclass(frozen=True, slots=True)
class _Exchange(Generic[ResponseT]):
    """One request of a client: its URL, its repository, and the function that sends it with an `Authorization`.

    `is_storage` is false for the registry's own API, and true for anything to which it redirects.
    """

    url: URL
    repository: Repository
    is_storage: bool
    attempt: Callable[[str | None], Awaitable[ResponseT]]

    @property
    def name(self) -> str | None:
        """The name that the host gives to the repository: a redirect can add a prefix. None if none is meant."""
        if self.url.path == _API:
            return None
        match = _REQUEST_PATH.fullmatch(self.url.path)
        is_prefixed = match is not None and match[1].endswith(f"/{self.repository}")
        return match[1] if match and is_prefixed else self.repository.name


class Authenticator:
    """Authentication of the requests to one upstream.

    The demanded scheme is cached per origin, so that only the first request gets a 401. `ping` sends `GET /v2/` without
    credentials.
    """

    def __init__(
        self,
        home: URL,
        rule: RealmRule,
        credentials: CredentialProvider,
        tokens: TokenCache,
        ping: Callable[[], Awaitable[Challenged]],
    ) -> None:
        self._home = home
        self._rule = rule
        self._credentials = credentials
        self._tokens = tokens
        self._ping = ping
        self._schemes: LRUCache[URL, Scheme] = LRUCache(_MAX_ORIGINS)

    async def send(
        self, url: URL, repository: Repository, attempt: Callable[[str | None], Awaitable[ResponseT]]
    ) -> ResponseT:
        """Return the response to `attempt`, which is called with the `Authorization` to send, at most five times.

        After a refused token, the next attempt sends none, because the challenge can depend on the old token: nvcr.io
        sends another realm for an expired one, and storage can refuse any. A new token that is refused is replaced by
        one for other scopes, and once by a newer one. After refused credentials, the next attempt sends newer ones, if
        there are any. Raise UpstreamError if a token or the credentials are unavailable.
        """
        response, grant = await self._negotiate(_Exchange(url, repository, self._is_storage(url), attempt))
        # Amazon's private registries return 403 for expired credentials.
        if grant.basic is None or response.status not in (401, 403):
            return response
        renewed = await self._credentials.refresh(repository, grant.basic)
        if renewed is None or renewed == grant.basic:
            return response
        await response.discard()
        return await attempt(renewed.basic())

    async def _negotiate(self, exchange: _Exchange[ResponseT]) -> tuple[ResponseT, _Grant]:
        """Return the response to the best authorization available, and that authorization."""
        url = exchange.url
        cached = self._schemes.get(url.origin()) if exchange.name is not None else None
        grant = await self._grant(cached, exchange)
        response = await exchange.attempt(grant.authorization)
        if not grant.is_refused(response.status, is_storage=exchange.is_storage):
            if grant.scheme is not cached:
                self._remember(grant.scheme, exchange)
            return response, grant
        if grant.authorization is None:
            return await self._respond_to_challenge(response, exchange)
        if grant.fresh and not exchange.is_storage:
            # A second try helps only if the registry demands another scheme, or another token.
            if response.status != 401:
                self._forget(grant)
                return response, grant
            demanded = choose_scheme(response.www_authenticate, exchange.name)
            if _is_same(demanded, cached):
                return await self._try_another(response, grant, demanded, exchange)
        await response.discard()
        clean = await exchange.attempt(None)
        if response.status == 401 or clean.status >= 400:
            self._forget(grant)
        return await self._respond_to_challenge(clean, exchange, has_tried=grant.fresh)

    async def _respond_to_challenge(
        self, response: ResponseT, exchange: _Exchange[ResponseT], *, has_tried: bool = False
    ) -> tuple[ResponseT, _Grant]:
        """Make the last attempts, as demanded by the response to a request without `Authorization`.

        `has_tried` is true if an authorization as new as the next one was refused before.
        """
        scheme = choose_scheme(response.www_authenticate, exchange.name) if response.status == 401 else None
        if scheme is not None:
            grant = await self._grant(scheme, exchange)
            self._remember(scheme if grant.authorization else None, exchange)
        elif response.status in (401, 403) and not has_tried:
            grant = await self._unchallenged_grant(exchange)
        else:
            grant = _NOTHING
        if grant.authorization is None:
            return response, _NOTHING
        await response.discard()
        response = await exchange.attempt(grant.authorization)
        if grant.is_refused(response.status, is_storage=exchange.is_storage):
            return await self._try_another(response, grant, scheme or grant.scheme, exchange)
        self._remember(grant.scheme, exchange)
        return response, grant

    async def _unchallenged_grant(self, exchange: _Exchange[ResponseT]) -> _Grant:
        """Return what the registry itself demands, for a host that refuses without a challenge, such as its storage.

        Return nothing if the credentials must not be sent to that host.
        """
        if not self._may_have_credentials(exchange.url):
            return _NOTHING
        with suppress(UpstreamError):  # the refusal says more than the error
            # This worker may not have been challenged yet.
            scheme = self._schemes.get(self._home) or choose_scheme(
                (await self._ping()).www_authenticate, exchange.name
            )
            return await self._grant(scheme, exchange)
        return _NOTHING

    async def _try_another(
        self, response: ResponseT, grant: _Grant, scheme: Scheme | None, exchange: _Exchange[ResponseT]
    ) -> tuple[ResponseT, _Grant]:
        """Replace a token that was refused: by one for other scopes of the challenge, otherwise by a newer one.

        `scheme` is what a challenge demands that does not depend on the token.
        """
        self._forget(grant)
        if grant.token is None or not isinstance(scheme, BearerScheme):
            return response, grant
        name, credentials = exchange.name or "", grant.token.credentials
        candidates = [each for each in scheme.each() if each.request(name, credentials) != grant.token]
        if response.status == 401:
            candidates.append(scheme)
        for candidate in candidates:
            try:
                grant = await self._grant(candidate, exchange)
            except (UpstreamDeniedError, TokenRefusedError):
                continue
            await response.discard()
            response = await exchange.attempt(grant.authorization)
            if not grant.is_refused(response.status, is_storage=exchange.is_storage):
                self._remember(grant.scheme, exchange)
                break
            self._forget(grant)
        return response, grant

    async def _grant(self, scheme: Scheme | None, exchange: _Exchange[ResponseT]) -> _Grant:
        """Return the authorization by a scheme. Raise UpstreamError."""
        if scheme is None:
            return _NOTHING
        repository = exchange.repository
        may_have_credentials = self._may_have_credentials(exchange.url)
        credentials = await self._credentials.get(repository) if may_have_credentials else None
        if isinstance(scheme, BasicScheme):
            return _Grant(credentials.basic(), scheme, basic=credentials) if credentials else _NOTHING
        try:
            return await self._bearer_grant(scheme, exchange, credentials)
        except UpstreamDeniedError as error:
            if credentials is None or not error.login_required:
                raise
            renewed = await self._credentials.refresh(repository, credentials)
            if renewed is None or renewed == credentials:
                raise
        return await self._bearer_grant(scheme, exchange, renewed)

    async def _bearer_grant(
        self, scheme: BearerScheme, exchange: _Exchange[ResponseT], credentials: Credentials | None
    ) -> _Grant:
        """Return a token for the first scopes that the token service accepts. Raise UpstreamError."""
        name = exchange.name or ""
        try:
            return await self._token_grant(scheme, scheme.request(name, credentials))
        except (UpstreamDeniedError, TokenRefusedError):
            for other in scheme.each()[1:]:
                with suppress(UpstreamDeniedError, TokenRefusedError):
                    return await self._token_grant(other, other.request(name, credentials))
            raise

    async def _token_grant(self, scheme: BearerScheme, request: TokenRequest) -> _Grant:
        if token := self._tokens.get(request):
            return _Grant(f"Bearer {token.value}", scheme, request, fresh=False)
        self._check_realm(request)
        token = await self._tokens.obtain(request)
        return _Grant(f"Bearer {token.value}", scheme, request)

    def _check_realm(self, request: TokenRequest) -> None:
        realm = request.realm
        if request.credentials and not self._rule.allows_credentials(realm):
            raise UpstreamBrokenError(
                f"{self._home.host} refers to the token service {realm.origin()} on another domain: "
                f"the credentials of {self._home.host} were not sent there. If this token service is right, add its "
                "host to `realms` of the upstream"
            )
        if not self._rule.allows_anonymous(realm):
            raise UpstreamBrokenError(
                f"{self._home.host} refers to the token service {realm.origin()}, another host without TLS: refused"
            )

    def _remember(self, scheme: Scheme | None, exchange: _Exchange[ResponseT]) -> None:
        # The challenge of `/v2/` names no repository.
        if scheme is not None and exchange.name is not None:
            self._schemes[exchange.url.origin()] = scheme

    def _is_storage(self, url: URL) -> bool:
        return url.origin() != self._home or not url.path.startswith(_API)

    def _may_have_credentials(self, url: URL) -> bool:
        return url.origin() == self._home or self._rule.is_named(url)

    def _forget(self, grant: _Grant) -> None:
        if grant.token and grant.authorization:
            self._tokens.forget(grant.token, grant.authorization.removeprefix("Bearer "))


def _is_same(demanded: Scheme | None, known: Scheme | None) -> bool:
    """Return whether two challenges demand the same."""
    return demanded is not None and known is not None and demanded.reduced() == known.reduced()
