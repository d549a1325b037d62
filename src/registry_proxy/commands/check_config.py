"""`registry-proxy check-config`: what the configuration comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit
import typer

if TYPE_CHECKING:
    from registry_proxy.config import Settings


def show(settings: Settings, *, as_json: bool) -> None:
    """The settings as a configuration file that gives the same ones, but for the passwords; warnings on stderr."""
    if as_json:
        typer.echo(settings.model_dump_json(indent=2, exclude_none=True))
    else:
        typer.echo(tomlkit.dumps(settings.model_dump(mode="json", exclude_none=True)).rstrip())
    for warning in settings.warnings:
        typer.echo(f"registry-proxy: warning: {warning}", err=True)
