"""Construction of the access gate from the settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from registry_proxy.config import ConfigError, Problem
from registry_proxy.policy.access import AddressRanges, NamePatterns
from registry_proxy.server.gate import AccessRule, Gate
from registry_proxy.server.logins import Logins

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.config import Settings, UpstreamSettings
    from registry_proxy.policy.access import Network


def build_gate(settings: Settings) -> Gate:
    """Return the gate. Raise ConfigError if an htpasswd file cannot be used."""
    files = _read(settings)
    general = settings.access
    rule = AccessRule(
        _sources(general.sources),
        files[general.htpasswd] if general.htpasswd else None,
        NamePatterns(general.client_names) if general.client_ca else None,
    )
    rules = {upstream.registry: _special(upstream, rule, files) for upstream in settings.upstreams.values()}
    return Gate(
        rule,
        {registry: special for registry, special in rules.items() if special != rule},
        AddressRanges(general.trusted_proxies),
    )


def _special(upstream: UpstreamSettings, rule: AccessRule, files: dict[Path, Logins]) -> AccessRule:
    """Return the general rule with the overrides of the upstream."""
    names = rule.certificate_names
    if names is not None and upstream.access_client_names:
        names = NamePatterns(upstream.access_client_names)
    return AccessRule(
        _sources(upstream.access_sources) or rule.sources,
        files[upstream.access_htpasswd] if upstream.access_htpasswd else rule.logins,
        names,
    )


def _sources(networks: tuple[Network, ...]) -> AddressRanges | None:
    return AddressRanges(networks) if networks else None


def _read(settings: Settings) -> dict[Path, Logins]:
    """Read each htpasswd file once. Raise ConfigError."""
    keys = {"access.htpasswd": settings.access.htpasswd}
    for name, upstream in settings.upstreams.items():
        keys[f"upstreams.{name}.access_htpasswd"] = upstream.access_htpasswd
    paths = {path: key for key, path in reversed(keys.items()) if path is not None}
    if not paths:
        return {}
    # bcrypt is loaded only if it is needed, to save memory in each worker.
    from registry_proxy.server.passwords import PasswordFileError, Passwords  # noqa: PLC0415

    files, problems = {}, []
    for path, key in paths.items():
        try:
            files[path] = Logins(Passwords(path, time.monotonic), time.monotonic)
        except PasswordFileError as error:
            problems.append(Problem(str(path), key, error.text, error.remedy))
    if problems:
        raise ConfigError(problems)
    return files
