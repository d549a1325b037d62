"""Reload: the settings of a new configuration that apply without a restart, and those that wait for one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from registry_proxy.config import Settings

# Settings of `access` that are built into the listeners, so that a change requires a restart.
_REQUIRE_RESTART = ("client_ca", "proxy_protocol")
_SECTIONS = ("server", "storage", "cache", "access", "tls", "log")
# The server requests certificates for new host names after a reload.
_RECONFIGURED = {"tls.hostnames"}


def merged_settings(old: Settings, new: Settings) -> Settings:
    """Return the effective settings after a reload: new upstreams, credentials and access rules; the rest is old."""
    kept = {name: getattr(old.access, name) for name in _REQUIRE_RESTART}
    access = new.access.model_copy(update=kept)
    return old.model_copy(update={"upstreams": new.upstreams, "access": access})


def waiting_for_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys of `new` that a reload of a server with the settings `old` does not apply."""
    merged = merged_settings(old, new)
    found = (
        key
        for section in _SECTIONS
        for key in _differences(section, getattr(merged, section), getattr(new, section))
    )
    return tuple(key for key in found if key not in _RECONFIGURED)


def _differences(section: str, old: BaseModel | None, new: BaseModel | None) -> Iterator[str]:
    if old is None or new is None:
        if old is not new:
            yield section
        return
    for key in type(new).model_fields:
        if getattr(old, key) != getattr(new, key):
            yield f"{section}.{key}"
