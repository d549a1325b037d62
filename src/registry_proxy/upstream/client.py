"""Requests to one registry: authenticated, with redirects followed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.upstream.auth.authenticator import Authenticator
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
from registry_proxy.upstream.failures import describe
from registry_proxy.upstream.redirects import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from yarl import URL

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.auth.realms import RealmRule
    from registry_proxy.upstream.response import UpstreamResponse
    from registry_proxy.upstream.transport import Transport


class RegistryClient:
    """Requests to the upstream at `home`. `clock` returns Unix seconds."""

    def __init__(
        self,
        transport: Transport,
        rule: RealmRule,
        credentials: CredentialProvider,
        clock: Callable[[], float],
        background: BackgroundTasks,
    ) -> None:
        self.home = transport.home
        self.clock = clock
        self.rate_limit_headers: Mapping[str, str] = {}
        self._transport = transport
        tokens = TokenCache(self._fetch_token, clock, background)
        self._authenticator = Authenticator(self.home, rule, credentials, tokens)

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
            self.rate_limit_headers = response.headers
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

        response = await hop(request.url())
        if response.location:
            response = await follow(request.url(), response, hop)
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
            # A missing token service does not mean that the content is missing.
            return UpstreamBrokenError(str(error))
        return error
