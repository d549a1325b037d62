"""The unit of the service, and what it lets the service see and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.changes.directories import GiveStore
from registry_proxy.commands.changes.files import WriteFile
from registry_proxy.commands.changes.plan import ChangeError, Step
from registry_proxy.commands.install.places import CONFIG, PROGRAM, STATE, UNIT, USER, TargetSystem
from registry_proxy.commands.install.program import HIDDEN
from registry_proxy.commands.install.templates import render
from registry_proxy.service.site import STORE_ENTRIES, STORE_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.commands.install.configuration import Configuration

# Seconds beyond the grace period: the supervisor waits longer for its workers, and then stops itself.
_STOP_MARGIN = 20


def unit_file(configuration: Configuration, target: TargetSystem) -> WriteFile:
    """Return the step that writes the unit for this configuration."""
    content = render(
        "registry-proxy.service.j2",
        program=PROGRAM,
        config=CONFIG,
        user=USER,
        state=STATE,
        store=configuration.settings.storage.path,
        low_ports=configuration.low_ports,
        stop_seconds=round(configuration.settings.server.grace_period) + _STOP_MARGIN,
    )
    return WriteFile(target.path(UNIT), content, owner=target.owner())


def check_visible(configuration: Configuration) -> None:
    """Raise ChangeError for a path that the service could not see or write."""
    directory = configuration.path.parent if configuration.path else None
    store = configuration.settings.storage.path
    if directory and store.is_relative_to(directory):
        raise ChangeError(
            f"storage.path is {store}, in the directory of the configuration, where the service can't write. "
            f"Set it to an absolute path elsewhere, or omit it to use {STATE}."
        )
    paths = [("storage.path", store)]
    paths += [
        (key, path)
        for key, path in configuration.files()
        if not (directory and path.is_relative_to(directory))
    ]
    for key, path in paths:
        if any(path.is_relative_to(hidden_directory) for hidden_directory in HIDDEN):
            raise ChangeError(
                f"{key} is {path}, which the service can't see. Move it into the directory of the configuration "
                f"or below {CONFIG.parent}, or, for storage.path, below /srv."
            )


def store_steps(store: Path, target: TargetSystem) -> Iterator[Step]:
    """Yield the step that gives a store to the service."""
    # systemd creates its StateDirectory, and gives all files in it to the service's user.
    if store != STATE:
        yield GiveStore(target.path(store), target.owner(USER, USER), STORE_ENTRIES, STORE_MARKS)
