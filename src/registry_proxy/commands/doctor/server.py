"""The checks of the server's machine."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.commands.compose_file import container_of
from registry_proxy.commands.doctor.certificates import certificate_checks
from registry_proxy.commands.doctor.findings import (
    RUN_AS_OWNER,
    Check,
    Finding,
    fail,
    not_permitted,
    ok,
    warn,
)
from registry_proxy.commands.doctor.names import name_checks
from registry_proxy.commands.doctor.ports import check_ports
from registry_proxy.commands.doctor.store import count_running, store_checks
from registry_proxy.commands.doctor.upstreams import upstream_checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from registry_proxy.commands.compose_file import ComposeFile
    from registry_proxy.config import ConfigError, Settings

_DENIED = os.strerror(errno.EACCES)


def configuration_findings(error: ConfigError) -> list[Finding]:
    """Return the problems of an unusable configuration."""
    return [
        fail(
            "configuration",
            f"{each.origin}: {f'{each.key} ' if each.key else ''}{each.text}",
            # The file of a secret is possibly readable for the server only, which is right.
            RUN_AS_OWNER if os.geteuid() and _DENIED in each.text else each.remedy,
        )
        for each in error.problems
    ]


def server_checks(settings: Settings, file: Path | None) -> list[Check]:
    """Return all checks. `file` is the configuration file."""
    workers = count_running(settings.storage.path)
    stack = container_of(settings, file)
    return [
        Check("configuration", partial(_configuration, settings, file)),
        Check("server", partial(_container, stack) if stack else partial(_server, settings, workers)),
        Check("ports", partial(check_ports, settings, running=None if workers is None else workers > 0)),
        *name_checks(settings),
        *certificate_checks(settings),
        *(store_checks(settings) if stack is None else ()),
        *upstream_checks(settings),
    ]


async def _configuration(settings: Settings, file: Path | None) -> AsyncIterator[Finding]:
    yield ok("configuration", f"{file} is valid" if file else "there is no file; the defaults are used")
    for warning in settings.warnings:
        yield warn("configuration", warning, "See docs/configuration.md.")


async def _container(stack: ComposeFile) -> AsyncIterator[Finding]:
    text = f"not checked: the server and its store are in a container of {stack.path}"
    yield warn("server", text, f"Check it there: {stack.command_line('doctor')}")


async def _server(settings: Settings, workers: int | None) -> AsyncIterator[Finding]:
    if workers is None:
        yield not_permitted("server", settings.storage.path)
    elif workers:
        yield ok("server", f"running, with {workers} worker{'s' if workers > 1 else ''}")
    else:
        remedy = "Start it: `systemctl start registry-proxy`, or `registry-proxy serve`."
        yield fail("server", "not running on this store", remedy)
