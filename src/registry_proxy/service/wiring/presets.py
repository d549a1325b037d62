"""Presets of the configured registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.policy.access import AddressRanges
from registry_proxy.upstream.presets import PRESETS, Preset

if TYPE_CHECKING:
    from registry_proxy.config import UpstreamSettings

# The registry of an image name without one, for every client.
DEFAULT_REGISTRY = "docker.io"


def preset_of(name: str, settings: UpstreamSettings) -> Preset:
    """Return the preset of the registry, with the configured values."""
    known = next((preset for preset in PRESETS if preset.name == name), None)
    return Preset(
        name,
        settings.registry,
        settings.url,
        aliases=known.aliases if known else (),
        realm_hosts=frozenset(settings.realms) | (known.realm_hosts if known else frozenset()),
        redirect_networks=AddressRanges(settings.allow_redirects_to),
        library=known.library if known else settings.registry == DEFAULT_REGISTRY,
    )
