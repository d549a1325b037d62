"""An upstream registry over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Source, official
from registry_proxy.upstream.auth.credentials import StaticCredentials
from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule
from registry_proxy.upstream.client import RegistryClient
from registry_proxy.upstream.ratelimit import RateLimit
from registry_proxy.upstream.repository import RegistryRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.auth.realms import DomainRegistry
    from registry_proxy.upstream.presets import Preset
    from registry_proxy.upstream.response import UpstreamResponse
    from registry_proxy.upstream.transport import Transport


class RegistryUpstream:
    """One upstream registry (see `base.Upstream`). It owns its transport."""

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
        self._has_library = preset.library
        self._transport = transport
        rule = RealmRule(transport.home, preset.realm_hosts, domains or PublicSuffixes())
        self._client = RegistryClient(transport, rule, credentials or StaticCredentials(), clock, background)

    @property
    def rate_limit(self) -> RateLimit | None:
        """The rate limit in the last response that reported it."""
        return RateLimit.parse(self._client.rate_limit_headers)

    def repository(self, name: Repository) -> RegistryRepository:
        if self._has_library:
            name = official(name)
        return RegistryRepository(Source(self.registry, name), self._client)

    async def ping(self) -> UpstreamResponse:
        """Send `GET /v2/` without credentials (distribution-spec, end-1). Return the response, without its body."""
        response = await self._transport.send("GET", self._client.home.with_path("/v2/"), {})
        await response.discard()
        return response

    async def check_login(self, repository: Repository) -> None:
        """Send `GET /v2/` with the credentials for a repository. Raise UpstreamError if the registry refuses them."""
        url = self._client.home.with_path("/v2/")
        async with self._client.open("GET", url, repository, {}) as response:
            if response.status != 200:
                raise await response.refusal(self._client.clock())

    async def close(self) -> None:
        await self._transport.close()
