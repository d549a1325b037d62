"""The gate, as configured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from registry_proxy.policy.access import AddressRanges
from registry_proxy.server.access import AccessRule, Gate

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.config import Settings, UpstreamSettings
    from registry_proxy.policy.access import Network
    from registry_proxy.server.passwords import Passwords


def build_gate(settings: Settings) -> Gate:
    """Who may pull. Raises PasswordFileError."""
    general = settings.access
    rule = AccessRule(
        _sources(general.sources),
        _passwords(general.htpasswd),
        general.client_names if general.client_ca else None,
    )
    rules = {upstream.registry: _special(upstream, rule) for upstream in settings.upstreams.values()}
    return Gate(
        rule,
        {registry: special for registry, special in rules.items() if special != rule},
        AddressRanges(general.trusted_proxies),
        time.monotonic,
    )


def _special(upstream: UpstreamSettings, rule: AccessRule) -> AccessRule:
    """The general rule, with what the upstream says instead."""
    names = upstream.access_client_names or rule.certificate_names
    return AccessRule(
        _sources(upstream.access_sources) or rule.sources,
        _passwords(upstream.access_htpasswd) or rule.passwords,
        names if rule.certificate_names is not None else None,
    )


def _sources(networks: tuple[Network, ...]) -> AddressRanges | None:
    return AddressRanges(networks) if networks else None


def _passwords(path: Path | None) -> Passwords | None:
    if path is None:
        return None
    # bcrypt is only loaded where it is needed: a worker's memory counts.
    from registry_proxy.server.passwords import Passwords  # noqa: PLC0415

    return Passwords(path, time.monotonic)
