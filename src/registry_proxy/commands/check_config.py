"""`registry-proxy check-config`: the effective configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tomlkit
import typer

from registry_proxy.commands.common import ConfigOption, JsonOption, command, settings_loader
from registry_proxy.commands.install.installed import InstalledService
from registry_proxy.config import find_config_file
from registry_proxy.service.wiring.files import check_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.config import Settings


@command("Example: registry-proxy check-config --json")
def check_config(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Check the configuration and print the effective settings, with defaults included and passwords masked.

    The files that it refers to are checked, too. Exit code 2 if the configuration is unusable.
    """
    settings = settings_loader(config)()
    check_files(settings)
    if quiet:
        pass
    elif as_json:
        typer.echo(settings.model_dump_json(indent=2, exclude_none=True))
    else:
        typer.echo(tomlkit.dumps(settings.model_dump(mode="json", exclude_none=True)).rstrip())
    for warning in (*settings.warnings, *_unit_warnings(config, settings)):
        typer.echo(f"registry-proxy: warning: {warning}", err=True)


def _unit_warnings(config: Path | None, settings: Settings) -> Iterator[str]:
    path = config or find_config_file()
    service = InstalledService.find(path.absolute()) if path else None
    refused = service.outdated(settings) if service else None
    if refused:
        yield f"the installed unit does not allow {refused}. Run: registry-proxy install systemd"
