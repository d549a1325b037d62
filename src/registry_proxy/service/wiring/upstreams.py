"""Upstreams and their routes, built from the configuration."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.aio.tasks import background_tasks
from registry_proxy.oci.reference import path_of_registry
from registry_proxy.server.routes import Router
from registry_proxy.service.wiring.credentials import build_provider
from registry_proxy.service.wiring.presets import DEFAULT_REGISTRY, preset_of
from registry_proxy.upstream.response import Timeouts
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.config import Settings
    from registry_proxy.observe.observer import Observer
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.base import Upstream
    from registry_proxy.upstream.presets import Preset


def build_upstreams(
    settings: Settings, observer: Observer, background: BackgroundTasks
) -> dict[str, RegistryUpstream]:
    """Return the enabled upstreams, by their name in the configuration."""
    upstreams = {}
    for name, upstream in settings.upstreams.items():
        preset = preset_of(name, upstream)
        credentials = build_provider(name, upstream, background)
        received = partial(observer.fetched, preset.registry)
        timeouts = Timeouts(least_rate=settings.cache.least_rate)
        upstreams[name] = build_upstream(preset, background, credentials, received, timeouts)
    return upstreams


def build_upstream(
    preset: Preset,
    background: BackgroundTasks,
    credentials: CredentialProvider | None = None,
    received: Callable[[int], None] = lambda _: None,
    timeouts: Timeouts | None = None,
) -> RegistryUpstream:
    """Return one upstream. `received` is called with the length of each piece of a body."""
    transport = Transport(
        URL(preset.url), timeouts=timeouts, redirect_networks=preset.redirect_networks, received=received
    )
    return RegistryUpstream(preset, transport, background, credentials=credentials)


@asynccontextmanager
async def open_upstream(
    preset: Preset, credentials: CredentialProvider | None = None
) -> AsyncIterator[RegistryUpstream]:
    """Open one upstream for a check without a server."""
    async with background_tasks() as background:
        upstream = build_upstream(preset, background, credentials)
        try:
            yield upstream
        finally:
            await upstream.close()


def build_router(settings: Settings, upstreams: dict[str, RegistryUpstream]) -> Router[Upstream]:
    """Return the routes to the upstreams: by host name, by registry, and the default."""
    hostnames: dict[str, Upstream] = {}
    registries: dict[str, Upstream] = {}
    for name, upstream in upstreams.items():
        configured = settings.upstreams[name]
        if configured.hostname is not None:
            hostnames[configured.hostname] = upstream
        for registry in _names_of(preset_of(name, configured)):
            registries[registry] = upstream
    # A single upstream is the default, independent of its registry.
    only = next(iter(upstreams.values())) if len(upstreams) == 1 else None
    default = registries.get(DEFAULT_REGISTRY, only)
    own_names = _own_names(settings) if hostnames or settings.disabled_hostnames else None
    return Router(hostnames, registries, default, settings.disabled_hostnames, own_names)


def _own_names(settings: Settings) -> frozenset[str]:
    """Return the host names of this server that select no upstream: configured ones, and the machine's."""
    machine = os.uname().nodename.lower()
    listening = [address.host.lower() for address in settings.server.listen]
    return frozenset(
        {"localhost", machine, machine.partition(".")[0], *listening, *settings.general_hostnames}
    )


def _names_of(preset: Preset) -> Iterable[str]:
    return (preset.registry, path_of_registry(preset.registry), *preset.aliases)
