"""The ways to run the server, and what each of them can read and listen on."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.install.places import CONFIG, STATE, USER
from registry_proxy.commands.install.program import HIDDEN
from registry_proxy.config.load import default_storage_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry_proxy.commands.config.context import Context
    from registry_proxy.config import Address

_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


class Runner(StrEnum):
    """A way to run the server: a kind of `install`, or the command `serve`."""

    SYSTEMD = "systemd"
    COMPOSE = "compose"
    SERVE = "serve"


def default_store(runner: Runner | None) -> Path:
    """Return the directory that a server without `storage.path` uses."""
    return STATE if runner in (Runner.SYSTEMD, Runner.COMPOSE) else default_storage_path(os.environ)


def unreadable(context: Context, text: str) -> str | None:
    """Return why the server could not read this file, None if it can."""
    path = Path(context.absolute(text))
    try:
        path.read_bytes()
    except OSError as error:
        return f"{path}: {error.strerror}."
    if context.service is not None:
        if context.service.can_read(path):
            return None
        return (
            f"The service's user, {USER}, can't read {path}. Move the file to {CONFIG.parent}, then run: "
            f"chgrp {USER} FILE; chmod g+r FILE"
        )
    copied = path.is_relative_to(context.directory)
    if context.answers.runner is not Runner.SYSTEMD or copied or _is_public(path):
        return None
    return (
        f"The service could not read {path}. Move the file to {context.directory}, whose files are installed."
    )


def unusable_store(context: Context, path: Path) -> str | None:
    """Return why the server could not write to this directory, None if it can."""
    if context.answers.runner is not Runner.SYSTEMD:
        return None
    if path.is_relative_to(context.directory) or _is_hidden(path):
        return f"The service can't write to {path}. Use a directory such as {STATE} or /srv/images."
    return None


def unusable_ports(context: Context, addresses: Iterable[Address]) -> str | None:
    """Return why the server could not listen on these addresses, None if it can."""
    if context.answers.runner is not Runner.SERVE or os.geteuid() == 0:
        return None
    first = int(_FIRST_FREE_PORT.read_bytes()) if _FIRST_FREE_PORT.exists() else 1024
    low = ", ".join(str(each) for each in addresses if 0 < each.port < first)
    return f"Your user can't listen on {low}: ports below {first} require a service or root." if low else None


def _is_public(path: Path) -> bool:
    """Return whether a service can see the file, and every user can read it."""
    if _is_hidden(path) or not path.stat().st_mode & stat.S_IROTH:
        return False
    return all(place.stat().st_mode & stat.S_IXOTH for place in path.resolve().parents)


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in HIDDEN)
