"""What of a new configuration is taken over while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_proxy.config import Settings

# These are built into the listeners.
_TAKE_A_RESTART = ("client_ca", "proxy_protocol")


def merged_settings(old: Settings, new: Settings) -> Settings:
    """The settings in force after a reload: upstreams, credentials and who may pull are new, all else is old."""
    kept = {name: getattr(old.access, name) for name in _TAKE_A_RESTART}
    access = new.access.model_copy(update=kept)
    return old.model_copy(update={"upstreams": new.upstreams, "access": access})
