"""Authentication schemes, as the challenges of a registry demand them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registry_proxy.oci.challenge import parse_challenges
from registry_proxy.upstream.auth.scopes import Template, challenged_scope, pull_scope
from registry_proxy.upstream.auth.tokens import TokenRequest
from registry_proxy.upstream.urls import parse_url

if TYPE_CHECKING:
    from yarl import URL

    from registry_proxy.oci.challenge import Challenge
    from registry_proxy.upstream.auth.credentials import Credentials


@dataclass(frozen=True, slots=True)
class BasicScheme:
    """Basic authentication (RFC 7617): the registry receives the credentials themselves."""

    def reduced(self) -> BasicScheme:
        """Return the same scheme."""
        return self


@dataclass(frozen=True, slots=True)
class BearerScheme:
    """Bearer authentication with a token from `realm`.

    `scopes` are the scopes to request, in the order in which to try them. The last one is the challenge's own.
    """

    realm: URL
    service: str | None
    scopes: tuple[Template, ...]

    def request(self, name: str, credentials: Credentials | None) -> TokenRequest:
        """Return the request to the token service, for the repository `name`."""
        return TokenRequest(self.realm, self.service, name.join(self.scopes[0]), credentials)

    def each(self) -> list[BearerScheme]:
        """Return the scheme with each of its scopes as the first."""
        return [replace(self, scopes=self.scopes[number:]) for number in range(len(self.scopes))]

    def reduced(self) -> BearerScheme:
        """Return the scheme with only the challenge's own scopes."""
        return self.each()[-1]


Scheme = BasicScheme | BearerScheme


def choose_scheme(www_authenticate: str, name: str | None) -> Scheme | None:
    """Return the scheme to use for the repository `name`, or for none; None if no supported scheme is offered."""
    challenges = parse_challenges(www_authenticate)
    for challenge in challenges:
        if challenge.scheme == "bearer" and (bearer := _bearer(challenge, name)):
            return bearer
    return BasicScheme() if any(challenge.scheme == "basic" for challenge in challenges) else None


def _bearer(challenge: Challenge, name: str | None) -> BearerScheme | None:
    try:
        realm = parse_url(challenge.parameters.get("realm", ""))
        usable = realm.scheme in ("http", "https") and bool(realm.host) and realm.user is None
    except ValueError:
        return None
    if not usable or realm.password is not None:
        return None
    scopes = _scopes(challenge.parameters.get("scope", ""), name)
    return BearerScheme(realm, challenge.parameters.get("service"), scopes)


def _scopes(challenge: str, name: str | None) -> tuple[Template, ...]:
    if name is None:
        return ((challenge,),)
    return tuple(dict.fromkeys([pull_scope(challenge, name), challenged_scope(challenge, name)]))
