"""The checks of the server's machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.certificates import certificate_checks
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.doctor.names import name_checks
from registry_proxy.commands.doctor.ports import check_ports
from registry_proxy.commands.doctor.store import count_running, store_checks
from registry_proxy.commands.doctor.upstreams import upstream_checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from registry_proxy.config import ConfigError, Settings


def configuration_findings(error: ConfigError) -> list[Finding]:
    """Return the problems of an unusable configuration."""
    return [
        fail("configuration", f"{each.origin}: {f'{each.key} ' if each.key else ''}{each.text}", each.remedy)
        for each in error.problems
    ]


def server_checks(settings: Settings, file: Path | None) -> list[Check]:
    """Return all checks. `file` is the configuration file."""
    workers = count_running(settings.storage.path)
    return [
        Check("configuration", partial(_configuration, settings, file)),
        Check("server", partial(_server, workers)),
        Check("ports", partial(check_ports, settings, running=workers > 0)),
        *name_checks(settings),
        *certificate_checks(settings),
        *store_checks(settings),
        *upstream_checks(settings),
    ]


async def _configuration(settings: Settings, file: Path | None) -> AsyncIterator[Finding]:
    yield ok("configuration", f"{file} is valid" if file else "there is no file; the defaults are used")
    for warning in settings.warnings:
        yield warn("configuration", warning, "See docs/configuration.md.")


async def _server(workers: int) -> AsyncIterator[Finding]:
    if workers:
        yield ok("server", f"running, with {workers} worker{'s' if workers > 1 else ''}")
    else:
        remedy = "Start it: `systemctl start registry-proxy`, or `registry-proxy serve`."
        yield fail("server", "not running on this store", remedy)
