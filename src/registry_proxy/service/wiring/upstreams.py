"""Upstreams and their routes, as configured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.server.routes import Router
from registry_proxy.service.wiring.credentials import build_provider
from registry_proxy.upstream.presets import PRESETS, Preset
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.config import Settings, UpstreamSettings
    from registry_proxy.observe.observer import Observer
    from registry_proxy.upstream.base import Upstream

# What a name without a registry means to every client.
DEFAULT_REGISTRY = "docker.io"


def preset_of(name: str, settings: UpstreamSettings) -> Preset:
    """What is known of the registry, with what the configuration says of it."""
    known = next((preset for preset in PRESETS if preset.name == name), None)
    return Preset(
        name,
        settings.registry,
        settings.url,
        aliases=known.aliases if known else (),
        realm_hosts=frozenset(settings.realms) | (known.realm_hosts if known else frozenset()),
        library=known.library if known else settings.registry == DEFAULT_REGISTRY,
    )


def build_upstreams(
    settings: Settings, observer: Observer, background: BackgroundTasks
) -> dict[str, RegistryUpstream]:
    """The upstreams that are on, by their name in the configuration. `spawn` runs what gets their passwords."""
    upstreams = {}
    for name, upstream in settings.upstreams.items():
        preset = preset_of(name, upstream)
        transport = Transport(URL(preset.url), received=partial(observer.fetched, preset.registry))
        credentials = build_provider(name, upstream, background)
        upstreams[name] = RegistryUpstream(preset, transport, background, credentials=credentials)
    return upstreams


def build_router(settings: Settings, upstreams: dict[str, RegistryUpstream]) -> Router[Upstream]:
    """The routes to the upstreams: by hostname, by registry, by default."""
    hostnames: dict[str, Upstream] = {}
    registries: dict[str, Upstream] = {}
    for name, upstream in upstreams.items():
        configured = settings.upstreams[name]
        if configured.hostname is not None:
            hostnames[configured.hostname] = upstream
        for registry in _names_of(preset_of(name, configured)):
            registries[registry] = upstream
    # Where only one registry is cached, there is nothing to tell apart.
    only = next(iter(upstreams.values())) if len(upstreams) == 1 else None
    return Router(hostnames, registries, registries.get(DEFAULT_REGISTRY, only))


def _names_of(preset: Preset) -> Iterable[str]:
    return (preset.registry, *preset.aliases)
