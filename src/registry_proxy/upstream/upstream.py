"""An upstream registry over HTTP: authenticated requests, with redirects followed."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Source, official
from registry_proxy.upstream.auth.authenticator import Authenticator
from registry_proxy.upstream.auth.credentials import StaticCredentials
from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule
from registry_proxy.upstream.auth.tokens import (
    MAX_TOKEN_RESPONSE,
    InvalidTokenResponseError,
    Token,
    TokenCache,
    TokenRequest,
    parse_token,
)
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.failures import TokenRefusedError, describe
from registry_proxy.upstream.ratelimit import RateLimit
from registry_proxy.upstream.redirects import follow
from registry_proxy.upstream.repository import RegistryRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from yarl import URL

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.auth.realms import DomainRegistry
    from registry_proxy.upstream.presets import Preset
    from registry_proxy.upstream.response import UpstreamResponse
    from registry_proxy.upstream.transport import Transport


class RegistryUpstream:
    """One upstream registry (see `base.Upstream`) at `home`. It owns its transport. `clock` returns Unix seconds."""

    def __init__(
        self,
        preset: Preset,
        transport: Transport,
        background: BackgroundTasks,
        *,
        credentials: CredentialProvider | None = None,
        domains: DomainRegistry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = preset.registry
        self.home = transport.home
        self.clock = clock
        self._has_library = preset.library
        self._transport = transport
        self._rate_limit_headers: Mapping[str, str] = {}
        rule = RealmRule(transport.home, preset.realm_hosts, domains or PublicSuffixes())
        tokens = TokenCache(self._fetch_token, clock, background)
        self._authenticator = Authenticator(
            self.home, rule, credentials or StaticCredentials(), tokens, self.ping
        )

    @property
    def rate_limit(self) -> RateLimit | None:
        """The rate limit in the last response that reported it."""
        return RateLimit.parse(self._rate_limit_headers)

    def repository(self, name: Repository) -> RegistryRepository:
        if self._has_library:
            name = official(name)
        return RegistryRepository(Source(self.registry, name), self)

    async def ping(self) -> UpstreamResponse:
        """Send `GET /v2/` without credentials (distribution-spec, end-1). Return the response, without its body."""
        response = await self._transport.send("GET", self.home.with_path("/v2/"), {})
        await response.discard()
        return response

    async def check_login(self, repository: Repository) -> None:
        """Send `GET /v2/` with the credentials for a repository. Raise UpstreamError if the registry refuses them."""
        url = self.home.with_path("/v2/")
        async with self.open("GET", url, repository, {}) as response:
            if response.status != 200:
                raise await response.refusal(self.clock())

    async def close(self) -> None:
        await self._transport.close()

    @asynccontextmanager
    async def open(
        self, method: str, url: URL, repository: Repository, headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamResponse]:
        """Yield the response at the end of all redirects, of any status. Raise UpstreamError."""
        total = self._transport.timeouts.total
        hop = partial(self._hop, method, repository, headers)
        try:
            async with asyncio.timeout(total):
                response = await hop(url)
                if response.location:
                    response = await follow(url, response, hop)
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"{describe(method, url)}: no response within {total:g} s, redirects and login included"
            ) from None
        if "RateLimit-Remaining" in response.headers:
            self._rate_limit_headers = response.headers
        try:
            yield response
        finally:
            response.close()

    async def _hop(
        self, method: str, repository: Repository, headers: Mapping[str, str], url: URL
    ) -> UpstreamResponse:
        def attempt(authorization: str | None) -> Awaitable[UpstreamResponse]:
            extra = {"Authorization": authorization} if authorization else {}
            return self._transport.send(method, url, {**headers, **extra})

        return await self._authenticator.send(url, repository, attempt)

    async def _fetch_token(self, request: TokenRequest) -> Token:
        """Request a token. The credentials go to the origin of the realm only, never to the target of a redirect."""
        realm = request.realm.origin()

        def hop(url: URL) -> Awaitable[UpstreamResponse]:
            headers = {}
            if request.credentials and url.origin() == realm:
                headers["Authorization"] = request.credentials.basic()
            return self._transport.send("GET", url, headers)

        try:
            response = await hop(request.url())
            if response.location:
                response = await follow(request.url(), response, hop)
        except UpstreamError as error:
            error.concerns_registry = True  # all its repositories require tokens
            raise
        try:
            if response.status != 200:
                raise await self._token_refusal(response, request)
            return parse_token(await response.read(MAX_TOKEN_RESPONSE), self.clock())
        except InvalidTokenResponseError as error:
            raise UpstreamBrokenError(f"{response.request}: {error}") from None
        finally:
            response.close()

    async def _token_refusal(self, response: UpstreamResponse, request: TokenRequest) -> UpstreamError:
        error = await response.refusal(self.clock())
        if response.status in (401, 403):
            user = (
                f"the configured user {request.credentials.username!r}"
                if request.credentials
                else "anonymous"
            )
            return UpstreamDeniedError(f"no token for {user}: {error}", login_required=True)
        if isinstance(error, (UpstreamNotFoundError, UpstreamDeniedError)):
            return TokenRefusedError(str(error))
        return error
