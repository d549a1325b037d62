"""`registry-proxy version`, as `--version`."""

from __future__ import annotations

import typer

from registry_proxy.commands.common import command
from registry_proxy.commands.group import VERSION


@command("Example: registry-proxy version")
def version() -> None:
    """Print the version."""
    typer.echo(VERSION)
