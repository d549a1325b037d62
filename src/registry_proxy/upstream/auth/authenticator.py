"""Authentication of requests: what to send first, and when and how to retry. It does no I/O itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from cachetools import LRUCache

from registry_proxy.oci.challenge import parse_challenges
from registry_proxy.upstream.auth.tokens import TokenCache, TokenRequest
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamDeniedError
from registry_proxy.upstream.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from registry_proxy.oci.challenge import Challenge
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider, Credentials
    from registry_proxy.upstream.auth.realms import RealmRule

# Redirects can lead to any number of hosts, so the number of cached schemes is bounded.
_MAX_ORIGINS = 64


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
class BasicScheme:
    """Basic authentication (RFC 7617): the registry receives the credentials themselves."""


@dataclass(frozen=True, slots=True)
class BearerScheme:
    """Bearer authentication with a token from `realm`.

    The scope is the pieces joined by the repository's name. A single piece is the whole scope, such as ECR's `aws`;
    without pieces there is no scope.
    """

    realm: URL
    service: str | None
    scope_pieces: tuple[str, ...]

    def request(self, repository: Repository, credentials: Credentials | None) -> TokenRequest:
        """Return the request to the token service."""
        return TokenRequest(self.realm, self.service, repository.name.join(self.scope_pieces), credentials)


Scheme = BasicScheme | BearerScheme


def choose_scheme(www_authenticate: str, repository: Repository) -> Scheme | None:
    """Return the scheme to use; None if no supported scheme is offered."""
    challenges = parse_challenges(www_authenticate)
    for challenge in challenges:
        if challenge.scheme == "bearer" and (bearer := _bearer(challenge, repository)):
            return bearer
    return BasicScheme() if any(challenge.scheme == "basic" for challenge in challenges) else None


def _bearer(challenge: Challenge, repository: Repository) -> BearerScheme | None:
    try:
        realm = parse_url(challenge.parameters.get("realm", ""))
        usable = realm.scheme in ("http", "https") and bool(realm.host) and realm.user is None
    except ValueError:
        return None
    if not usable or realm.password is not None:
        return None
    pieces = scope_pieces(challenge.parameters.get("scope", ""), repository)
    return BearerScheme(realm, challenge.parameters.get("service"), pieces)


def scope_pieces(scope: str, repository: Repository) -> tuple[str, ...]:
    """Return the parts of a scope before and after the repository's name, so that they match every other name.

    A redirect to another path can add a prefix to the name.
    """
    if not scope:
        return ()
    head, _, actions = scope.rpartition(":")
    prefix = head.removesuffix(repository.name)
    if (
        scope.startswith("repository:")
        and prefix != head
        and prefix.endswith((":", "/"))
        and " " not in scope
    ):
        return (prefix, f":{actions}")
    return (scope,)


@dataclass(frozen=True, slots=True)
class _Grant:
    """The authorization of one attempt.

    `fresh` means that a second try can't get a better one. `basic` are the credentials, if they are sent themselves.
    """

    authorization: str | None = None
    token: TokenRequest | None = None
    fresh: bool = True
    basic: Credentials | None = None

    def is_refused(self, status: int) -> bool:
        """Return whether the status can mean that this grant is invalid or has expired.

        400: Amazon's public registry, for an expired token. 403: some registries, for a token that expired early.
        """
        return status == 401 or (self.token is not None and status in (400, 403))


_NOTHING = _Grant()


class Authenticator:
    """Authentication of the requests to one upstream.

    The demanded scheme is cached per origin, so that only the first request gets a 401.
    """

    def __init__(
        self, home: URL, rule: RealmRule, credentials: CredentialProvider, tokens: TokenCache
    ) -> None:
        self._home = home
        self._rule = rule
        self._credentials = credentials
        self._tokens = tokens
        self._schemes: LRUCache[URL, Scheme] = LRUCache(_MAX_ORIGINS)

    async def send(
        self, url: URL, repository: Repository, attempt: Callable[[str | None], Awaitable[ResponseT]]
    ) -> ResponseT:
        """Return the response to `attempt`, which is called with the `Authorization` to send, at most four times.

        After a refused token, the next attempt sends none, because the challenge can depend on the old token: nvcr.io
        sends another realm for an expired one. After refused credentials, the next attempt sends newer ones, if there
        are any. Raise UpstreamError if a token or the credentials are unavailable.
        """
        response, grant = await self._negotiate(url, repository, attempt)
        # Amazon's private registries return 403 for expired credentials.
        if grant.basic is None or response.status not in (401, 403):
            return response
        renewed = await self._credentials.refresh(repository, grant.basic)
        if renewed is None or renewed == grant.basic:
            return response
        await response.discard()
        return await attempt(renewed.basic())

    async def _negotiate(
        self, url: URL, repository: Repository, attempt: Callable[[str | None], Awaitable[ResponseT]]
    ) -> tuple[ResponseT, _Grant]:
        """Return the response to the best authorization available, and that authorization."""
        cached = self._schemes.get(url.origin())
        grant = await self._grant(cached, url, repository)
        response = await attempt(grant.authorization)
        if not grant.is_refused(response.status):
            return response, grant
        if grant.authorization is not None:
            self._forget(grant)
            if self._is_final(response, grant, cached, repository):
                return response, grant
            await response.discard()
            response = await attempt(None)
        return await self._respond_to_challenge(response, url, repository, attempt)

    async def _respond_to_challenge(
        self,
        response: ResponseT,
        url: URL,
        repository: Repository,
        attempt: Callable[[str | None], Awaitable[ResponseT]],
    ) -> tuple[ResponseT, _Grant]:
        """Make the last attempt, as demanded by the response to a request without `Authorization`."""
        scheme = choose_scheme(response.www_authenticate, repository) if response.status == 401 else None
        if scheme is None:
            return response, _NOTHING
        grant = await self._grant(scheme, url, repository)
        if grant.authorization is None:
            return response, _NOTHING
        self._schemes[url.origin()] = scheme
        await response.discard()
        response = await attempt(grant.authorization)
        if grant.is_refused(response.status):
            self._forget(grant)
        return response, grant

    async def _grant(self, scheme: Scheme | None, url: URL, repository: Repository) -> _Grant:
        """Return the authorization for `url` by a scheme. Raise UpstreamError."""
        if scheme is None:
            return _NOTHING
        credentials = await self._credentials.get(repository) if self._may_have_credentials(url) else None
        if isinstance(scheme, BasicScheme):
            return _Grant(credentials.basic(), basic=credentials) if credentials else _NOTHING
        try:
            return await self._bearer_grant(scheme.request(repository, credentials))
        except UpstreamDeniedError as error:
            if credentials is None or not error.login_required:
                raise
            renewed = await self._credentials.refresh(repository, credentials)
            if renewed is None or renewed == credentials:
                raise
        return await self._bearer_grant(scheme.request(repository, renewed))

    async def _bearer_grant(self, request: TokenRequest) -> _Grant:
        if token := self._tokens.get(request):
            return _Grant(f"Bearer {token.value}", request, fresh=False)
        self._check_realm(request)
        token = await self._tokens.obtain(request)
        return _Grant(f"Bearer {token.value}", request)

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

    def _is_final(
        self, response: Challenged, grant: _Grant, cached: Scheme | None, repository: Repository
    ) -> bool:
        """Return whether a retry is useless: the refused grant was new, and the registry demands no other scheme."""
        if not grant.fresh:
            return False
        return response.status != 401 or choose_scheme(response.www_authenticate, repository) == cached

    def _may_have_credentials(self, url: URL) -> bool:
        return url.origin() == self._home or self._rule.is_named(url)

    def _forget(self, grant: _Grant) -> None:
        if grant.token and grant.authorization:
            self._tokens.forget(grant.token, grant.authorization.removeprefix("Bearer "))
