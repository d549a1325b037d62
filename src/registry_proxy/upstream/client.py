"""A registry's requests, whole: authenticated at each hop, and led to where the content is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from registry_proxy.upstream.auth.authenticator import Authenticator
from registry_proxy.upstream.auth.tokens import (
    MAX_TOKEN_ANSWER,
    InvalidTokenAnswerError,
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

    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.auth.realms import RealmRule
    from registry_proxy.upstream.response import UpstreamResponse
    from registry_proxy.upstream.transport import Transport


class RegistryClient:
    """Requests to the upstream at `home`."""

    def __init__(
        self,
        home: URL,
        transport: Transport,
        rule: RealmRule,
        credentials: CredentialProvider,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._clock = clock
        tokens = TokenCache(self._fetch_token, clock)
        self._authenticator = Authenticator(home, rule, credentials, tokens)

    @asynccontextmanager
    async def open(
        self, method: str, url: URL, repository: Repository, headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamResponse]:
        """The answer at the end of all redirects, of whatever status. Raises UpstreamError."""
        total = self._transport.timeouts.total
        try:
            async with asyncio.timeout(total):
                response = await follow(url, lambda hop: self._hop(method, hop, repository, headers))
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"{describe(method, url)}: no answer within {total:g} s, redirects and login included"
            ) from None
        try:
            yield response
        finally:
            response.close()

    async def _hop(
        self, method: str, url: URL, repository: Repository, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        def attempt(authorization: str | None) -> Awaitable[UpstreamResponse]:
            extra = {"Authorization": authorization} if authorization else {}
            return self._transport.send(method, url, {**headers, **extra})

        return await self._authenticator.send(url, repository, attempt)

    async def _fetch_token(self, request: TokenRequest) -> Token:
        """Ask a token service. The credentials go to the origin of the realm only, not on with a redirect."""
        realm = request.realm.origin()

        def hop(url: URL) -> Awaitable[UpstreamResponse]:
            headers = {}
            if request.credentials and url.origin() == realm:
                headers["Authorization"] = request.credentials.basic()
            return self._transport.send("GET", url, headers)

        response = await follow(request.url(), hop)
        try:
            if response.status != 200:
                raise await self._token_refusal(response, request)
            return parse_token(await response.read(MAX_TOKEN_ANSWER), self._clock())
        except InvalidTokenAnswerError as error:
            raise UpstreamBrokenError(f"{response.what}: {error}") from None
        finally:
            response.close()

    async def _token_refusal(self, response: UpstreamResponse, request: TokenRequest) -> UpstreamError:
        error = await response.refusal(self._clock())
        if response.status in (401, 403):
            who = (
                f"the configured user {request.credentials.username!r}"
                if request.credentials
                else "anonymous"
            )
            return UpstreamDeniedError(f"no token for {who}: {error}", login_required=True)
        if isinstance(error, (UpstreamNotFoundError, UpstreamDeniedError)):
            # A token service that isn't there doesn't mean that the content isn't.
            return UpstreamBrokenError(str(error))
        return error
