"""Upstream clients connected to simulated upstreams, closed at the end of each test."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from registry_proxy.oci.reference import Digest, Repository, Tag
from registry_proxy.policy.access import AddressRanges
from registry_proxy.upstream.presets import Preset
from registry_proxy.upstream.response import Timeouts
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream

if TYPE_CHECKING:
    import ssl

    from tests.kit import images
    from tests.kit.clock import ManualClock
    from tests.kit.upstream import SimulatedUpstream

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.base import Upstream

REPOSITORY = Repository("library/alpine")
LATEST = Tag("latest")
HASTY = Timeouts(connect=5, headers=0.8, stall=0.8, total=5)


class Names(AbstractResolver):
    """Resolves every name to one address; `overrides` by name."""

    def __init__(self, address: str = "127.0.0.1", **overrides: str) -> None:
        self._address = address
        self._overrides = {name.replace("_", "."): address for name, address in overrides.items()}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 (of the interface)
    ) -> list[ResolveResult]:
        address = self._overrides.get(host, self._address)
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=version, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Connector:
    """Makes upstream clients."""

    clock: ManualClock
    background: BackgroundTasks
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __call__(
        self,
        url: str,
        *,
        credentials: CredentialProvider | None = None,
        realm_hosts: tuple[str, ...] = (),
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        redirect_networks: tuple[str, ...] = (),
    ) -> RegistryUpstream:
        preset = Preset("simulated", "registry.test", url, realm_hosts=frozenset(realm_hosts))
        transport = Transport(
            URL(url),
            timeouts=timeouts,
            ssl_context=ssl_context,
            resolver=resolver,
            redirect_networks=AddressRanges(tuple(map(ip_network, redirect_networks))),
        )
        made = RegistryUpstream(preset, transport, self.background, credentials=credentials, clock=self.clock)
        self.stack.push_async_callback(made.close)
        return made


def stored(simulated: SimulatedUpstream, image: images.Image, name: str = REPOSITORY.name) -> Digest:
    """Push the image as `latest`; the digest of its first layer."""
    simulated.push(name, image, LATEST.name)
    return Digest.parse(image.layers[0].digest)


async def content(upstream: Upstream, digest: Digest, offset: int = 0) -> bytes:
    """A blob's bytes from `offset` on, however the upstream sends them."""
    async with upstream.repository(REPOSITORY).blob(digest, offset) as stream:
        body = b"".join([chunk async for chunk in stream.chunks()])
        return body[offset - stream.offset :]
