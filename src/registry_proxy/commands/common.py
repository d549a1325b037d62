"""Parts that all commands use: options, errors, exit codes, and the settings."""

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
        help="Configuration file. Default: ./registry-proxy.toml, then "
        "/etc/registry-proxy/registry-proxy.toml, then the built-in settings.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


class FailedError(Exception):
    """A command failed. The text says why, and what to do. Exit code 1."""


class UsageError(Exception):
    """A command was called with arguments that cannot work. The text says which can. Exit code 2."""


def command(epilog: str) -> Callable[[Callable[..., None]], typer.Typer]:
    """Decorate the function of a command. `epilog` is the end of its help: examples."""

    def decorate(function: Callable[..., None]) -> typer.Typer:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(epilog=epilog)(function)
        return app

    return decorate


def settings_loader(config: Path | None) -> Callable[[], Settings]:
    """Return a function that reads the configuration again at each call: on startup, and on a reload."""
    path = config or find_config_file()
    presets = {preset.name: preset for preset in PRESETS}
    return partial(load, path and path.absolute(), os.environ, presets)
