"""`registry-proxy check-config`: the effective configuration."""

from __future__ import annotations

import tomlkit
import typer

from registry_proxy.commands.common import ConfigOption, JsonOption, command, settings_loader
from registry_proxy.service.wiring.gate import build_gate


@command("Example: registry-proxy check-config --json")
def check_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and print the effective settings, with defaults included and passwords masked.

    Exit code 2 if the configuration is unusable.
    """
    settings = settings_loader(config)()
    build_gate(settings)  # reads the htpasswd files
    if as_json:
        typer.echo(settings.model_dump_json(indent=2, exclude_none=True))
    else:
        typer.echo(tomlkit.dumps(settings.model_dump(mode="json", exclude_none=True)).rstrip())
    for warning in settings.warnings:
        typer.echo(f"registry-proxy: warning: {warning}", err=True)
