"""What commands share: options, errors, exit codes, and how the settings are found."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.config import find_config_file, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.config import Settings

FAILED = 1
UNUSABLE = 2

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The configuration file. Without it: ./registry-proxy.toml, or else "
        "/etc/registry-proxy/registry-proxy.toml, or else the defaults.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, do it.")]


class FailedError(Exception):
    """A command can't do its work; the text says why and what to do. Exit code 1."""


class UsageError(Exception):
    """A command was called in a way that can't work; the text says how it can. Exit code 2."""


def settings_loader(config: Path | None) -> Callable[[], Settings]:
    """Reads the configuration anew at each call: at the start, and on a reload."""
    path = config or find_config_file()
    presets = {preset.name: preset for preset in PRESETS}
    return partial(load, path and path.absolute(), os.environ, presets)
