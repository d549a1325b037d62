"""Tokens and passwords of a simulated registry: issued, scoped, expiring, and really checked."""

from __future__ import annotations

import base64
import binascii
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.kit.wire import Call, Reply, error, locate, reply_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.kit.content import Contents, Repository
    from tests.kit.profiles import Profile


class BadLoginError(Exception):
    """The Authorization header holds no valid user and password."""


@dataclass(slots=True)
class Grant:
    """What a token allows. `dead` is the status that its next uses get, 0 while it lives."""

    repositories: frozenset[str]
    expires_at: float
    listed: frozenset[str] = frozenset()  # whose tags may be listed, where that takes an action of its own
    dead: int = 0
    challenge: bool = True


@dataclass(slots=True)
class Gatekeeper:
    """Issues tokens and checks requests, in the way of one profile."""

    profile: Profile
    contents: Contents
    clock: Callable[[], float]
    realm: str = ""  # known once the token server listens
    grants: dict[str, Grant] = field(default_factory=dict)
    stillborn: int = 0  # so many of the next tokens are not known to the registry: its copies lag behind
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def issue(self, call: Call, scopes: Iterable[str]) -> Reply:
        """Answer a request to the token endpoint (distribution's token specification)."""
        if call.method != "GET":
            return error(404, "NOT_FOUND", "only GET here")
        try:
            user = self._login(call)
        except BadLoginError:
            return error(self.profile.bad_login_status, _code(self.profile.bad_login_status), "bad login")
        parts = [part for scope in scopes for part in scope.split()]
        if refusal := self._refuse_scopes(parts):
            return refusal
        readable = {each.name for each in self.contents.repositories.values() if each.readable_by(user)}
        asked = {self._own_name(name) for part in parts if (name := _repository(part))}
        granted = readable if self.profile.scope else asked & readable
        if asked - readable and self.profile.unknown_repository == "no-token":
            return error(403, "DENIED", "requested access to the resource is denied")
        action = self.profile.list_action
        lists = {name for part in parts if action and (name := _repository(part, action))}
        return self._token(frozenset(granted), frozenset(lists & readable))

    def _refuse_scopes(self, scopes: list[str]) -> Reply | None:
        if self.profile.other_scopes_status and set(scopes) != {self.profile.scope}:
            return error(self.profile.other_scopes_status, _code(self.profile.other_scopes_status), "scope?")
        if self.profile.push_status and any("push" in scope.rpartition(":")[2] for scope in scopes):
            return error(self.profile.push_status, _code(self.profile.push_status), "no right to push")
        return None

    def _own_name(self, name: str) -> str:
        """Return the repository that the token service knows by this name; empty when it has an alias instead."""
        alias = self.profile.alias
        return name.removeprefix(alias) if name.startswith(alias) else ""

    def refuse(self, call: Call, repository: str) -> Reply | None:
        """Return the refusal of a request for `repository` (empty: the ping), or None when it may pass."""
        match self.profile.auth:
            case "bearer":
                return self._refuse_bearer(call, repository)
            case "basic":
                return self._refuse_basic(call, repository)
            case "none":
                return self._unless_readable(repository, None)

    def kill_tokens(self, *, status: int = 401, challenge: bool = True) -> None:
        """Let every token issued so far die early; its uses are answered `status`."""
        for grant in self.grants.values():
            grant.dead, grant.challenge = status, challenge

    def _list_action(self, call: Call) -> str:
        """Return the action that the call takes if it is not a pull."""
        return self.profile.list_action if locate(call.path).kind == "tags" else ""

    def challenge(self, repository: str, *, problem: str = "", realm: str = "", action: str = "pull") -> str:
        """Return the WWW-Authenticate header (RFC 6750 section 3)."""
        if self.profile.auth == "basic":
            return 'Basic realm="registry"'
        fields = {"realm": realm or self.realm}
        if self.profile.service is not None:
            fields["service"] = self.profile.service
        if scope := self._challenged_scope(repository, action):
            fields["scope"] = scope
        if problem:
            fields["error"] = problem
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())

    def _challenged_scope(self, repository: str, action: str) -> str:
        if self.profile.challenged_scope is not None:
            return self.profile.challenged_scope.format(name=repository)
        return self.profile.scope or (f"repository:{repository}:{action}" if repository else "")

    def _refuse_bearer(self, call: Call, repository: str) -> Reply | None:
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if not token:
            action = self._list_action(call) or "pull"
            return self._unauthorized(self.challenge(repository, action=action))
        grant = self.grants.get(token) if scheme.lower() == "bearer" else None
        if grant is None:
            return self._unauthorized(self.challenge(repository, problem="invalid_token"))
        if grant.dead:
            return self._dead(repository, grant.dead, challenge=grant.challenge)
        if self.clock() >= grant.expires_at:
            status, challenge = self.profile.expired_token_status, self.profile.expired_token_challenge
            return self._dead(repository, status, challenge=challenge)
        return self._refuse_action(call, repository, grant)

    def _refuse_action(self, call: Call, repository: str, grant: Grant) -> Reply | None:
        action = self._list_action(call)
        if not repository or repository in (grant.listed if action else grant.repositories):
            return None
        if not action:
            return self._no_access(repository)
        return self._unauthorized(self.challenge(repository, problem="insufficient_scope", action=action))

    def _refuse_basic(self, call: Call, repository: str) -> Reply | None:
        try:
            user = self._login(call)
        except BadLoginError:
            user = None
        if user is None:
            return self._unauthorized(self.challenge(repository))
        return self._unless_readable(repository, user)

    def _unless_readable(self, repository: str, user: str | None) -> Reply | None:
        held: Repository | None = self.contents.repositories.get(repository)
        if not repository or (held is not None and held.readable_by(user)):
            return None
        return self._no_access(repository)

    def _no_access(self, repository: str) -> Reply:
        match self.profile.unknown_repository:
            case "not-found":
                return error(404, "NAME_UNKNOWN", "repository name not known to registry")
            case "denied" | "no-token":
                return error(403, "DENIED", f"no permission on {repository}")
            case "unauthorized":
                return self._unauthorized(self.challenge(repository, problem="insufficient_scope"))

    def _dead(self, repository: str, status: int, *, challenge: bool) -> Reply:
        if not challenge:
            return error(
                status, _code(status), "Your authorization token has expired. Reauthenticate and try again."
            )
        realm = self.profile.expired_token_realm
        value = self.challenge(repository, problem="invalid_token", realm=realm)
        return error(status, _code(status), "token expired", www_authenticate=value)

    def _unauthorized(self, challenge: str) -> Reply:
        return error(401, "UNAUTHORIZED", "authentication required", www_authenticate=challenge)

    def _token(self, repositories: frozenset[str], listed: frozenset[str]) -> Reply:
        token = f"token-{self.profile.name}-{next(self._numbers)}"
        self.grants[token] = Grant(repositories, self.clock() + self.profile.token_seconds, listed)
        if self.stillborn:
            self.stillborn -= 1
            self.grants[token].dead = 401
        document: dict[str, object] = dict.fromkeys(self.profile.token_names, token)
        if self.profile.token_tells_expiry:
            issued = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # clients count from here
            document |= {"expires_in": self.profile.token_seconds, "issued_at": issued}
        return reply_json(200, document)

    def _login(self, call: Call) -> str | None:
        scheme, _, encoded = call.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as problem:
            raise BadLoginError from problem
        if scheme.lower() != "basic" or not self.contents.knows(user, password):
            raise BadLoginError
        return user


def _repository(scope: str, action: str = "pull") -> str:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return name if kind == "repository" and action in actions.split(",") else ""


def _code(status: int) -> str:
    return {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "DENIED"}[status]
