"""How a request is authenticated: what to send first, when to try again, with what. No I/O of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from cachetools import LRUCache
from yarl import URL

from registry_proxy.oci.challenge import parse_challenges
from registry_proxy.upstream.auth.tokens import TokenCache, TokenRequest
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamDeniedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.oci.challenge import Challenge
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider, Credentials
    from registry_proxy.upstream.auth.realms import RealmRule

# Redirects can lead to any number of hosts: what they cause to be remembered is bounded.
_MAX_ORIGINS = 64


class Challenged(Protocol):
    """What authentication has to know of an answer."""

    @property
    def status(self) -> int: ...
    @property
    def www_authenticate(self) -> str:
        """The `WWW-Authenticate` values, joined by commas; empty when there is none."""
        ...

    async def discard(self) -> None:
        """Done with this answer: another attempt follows."""
        ...


ResponseT = TypeVar("ResponseT", bound=Challenged)


@dataclass(frozen=True, slots=True)
class BasicScheme:
    """RFC 7617: the credentials themselves go to the registry."""


@dataclass(frozen=True, slots=True)
class BearerScheme:
    """A token from `realm`. The scope is its pieces joined by the repository's name: one piece stands for itself,
    such as ECR's `aws`, and none for no scope at all."""

    realm: URL
    service: str | None
    scope_pieces: tuple[str, ...]

    def request(self, repository: Repository, credentials: Credentials | None) -> TokenRequest:
        """What to ask the token service for."""
        return TokenRequest(self.realm, self.service, repository.name.join(self.scope_pieces), credentials)


Scheme = BasicScheme | BearerScheme


def choose_scheme(www_authenticate: str, repository: Repository) -> Scheme | None:
    """The scheme to answer with; None when nothing we speak is offered."""
    challenges = parse_challenges(www_authenticate)
    for challenge in challenges:
        if challenge.scheme == "bearer" and (bearer := _bearer(challenge, repository)):
            return bearer
    return BasicScheme() if any(challenge.scheme == "basic" for challenge in challenges) else None


def _bearer(challenge: Challenge, repository: Repository) -> BearerScheme | None:
    try:
        realm = URL(challenge.parameters.get("realm", ""))
        usable = realm.scheme in ("http", "https") and bool(realm.host) and realm.user is None
    except ValueError:
        return None
    if not usable or realm.password is not None:
        return None
    pieces = scope_pieces(challenge.parameters.get("scope", ""), repository)
    return BearerScheme(realm, challenge.parameters.get("service"), pieces)


def scope_pieces(scope: str, repository: Repository) -> tuple[str, ...]:
    """What stays of a scope when the repository's name is taken out of it, so that it fits every other name.

    The name can have a prefix in front, where a redirect has led to another path.
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
    """What one attempt is sent with. `fresh`: asking again can't bring anything better. `basic` are the credentials
    that are sent themselves."""

    authorization: str | None = None
    token: TokenRequest | None = None
    fresh: bool = True
    basic: Credentials | None = None

    def is_refused(self, status: int) -> bool:
        """Whether the status can mean that this grant is worth nothing (any more).

        400: Amazon's public registry, of an expired token. 403: some say so of a token that died early.
        """
        return status == 401 or (self.token is not None and status in (400, 403))


_NOTHING = _Grant()


class Authenticator:
    """Sends requests of one upstream with what it demands.

    It remembers per origin what was demanded, so that one 401 is enough, not one a request.
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
        """The answer to `attempt`, which gets the `Authorization` to send; at most four attempts.

        A refused token is followed by an attempt without any, for a challenge that owes nothing to the old token
        (nvcr.io names another realm when it sees an expired one). Refused credentials are followed by newer ones where
        there are any. Raises UpstreamError when a token or the credentials can't be had.
        """
        response, grant = await self._negotiate(url, repository, attempt)
        # 403 is what Amazon's private registries say of credentials that have expired.
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
        """The answer to the best that can be sent, and what that was."""
        remembered = self._schemes.get(url.origin())
        grant = await self._grant(remembered, url, repository)
        response = await attempt(grant.authorization)
        if not grant.is_refused(response.status):
            return response, grant
        if grant.authorization is not None:
            self._forget(grant)
            if self._is_final(response, grant, remembered, repository):
                return response, grant
            await response.discard()
            response = await attempt(None)
        return await self._answer_challenge(response, url, repository, attempt)

    async def _answer_challenge(
        self,
        response: ResponseT,
        url: URL,
        repository: Repository,
        attempt: Callable[[str | None], Awaitable[ResponseT]],
    ) -> tuple[ResponseT, _Grant]:
        """The last attempt, with what the answer to a request without `Authorization` demands."""
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
        """What to send to `url` by a scheme."""
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
                f"{self._home.host} names {realm.origin()} as its token service; the credentials of "
                f"{self._home.host} are not sent there, because it is another domain: if it is right, add it to "
                "the upstream's realm hosts"
            )
        if not self._rule.allows_anonymous(realm):
            raise UpstreamBrokenError(
                f"{self._home.host} names {realm.origin()} as its token service, which is another host without TLS"
            )

    def _is_final(
        self, response: Challenged, grant: _Grant, remembered: Scheme | None, repository: Repository
    ) -> bool:
        """Whether the registry means it: it refused something new, and demands nothing else."""
        if not grant.fresh:
            return False
        return response.status != 401 or choose_scheme(response.www_authenticate, repository) == remembered

    def _may_have_credentials(self, url: URL) -> bool:
        return url.origin() == self._home or self._rule.is_named(url)

    def _forget(self, grant: _Grant) -> None:
        if grant.token and grant.authorization:
            self._tokens.forget(grant.token, grant.authorization.removeprefix("Bearer "))
