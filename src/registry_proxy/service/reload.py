"""Reload: the settings of a new configuration that apply without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_proxy.config import Settings

# Settings of `access` that are built into the listeners, so that a change requires a restart.
_REQUIRE_RESTART = ("client_ca", "proxy_protocol")


def merged_settings(old: Settings, new: Settings) -> Settings:
    """Return the effective settings after a reload: new upstreams, credentials and access rules; the rest is old."""
    kept = {name: getattr(old.access, name) for name in _REQUIRE_RESTART}
    access = new.access.model_copy(update=kept)
    return old.model_copy(update={"upstreams": new.upstreams, "access": access})
