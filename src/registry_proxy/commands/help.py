"""`registry-proxy help COMMAND`, as `COMMAND --help`."""

from __future__ import annotations

from typing import Annotated

import typer

from registry_proxy.commands.common import command
from registry_proxy.commands.group import COMMANDS


def _complete(incomplete: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(incomplete)]


@command("Example: registry-proxy help client")
def help_(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="COMMAND", help="The command.", autocompletion=_complete, show_default=False),
    ] = None,
) -> None:
    """Print the help of a command, or the list of commands."""
    program = context.find_root()
    arguments = ["--help"] if name is None else [name, "--help"]
    program.command.main(arguments, prog_name=program.info_name, standalone_mode=False)
