"""`registry-proxy install` and `uninstall`: their options. What they do is in `install_run`, loaded when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry_proxy.cli.common import ConfigOption, JsonOption, UsageError, YesOption
from registry_proxy.config import find_config_file

_DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
_RootOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR", exists=True, file_okay=False, help="Another system's folder, not this one's."
    ),
]
_NoStartOption = Annotated[bool, typer.Option("--no-start", help="Write everything, start nothing.")]
_PurgeOption = Annotated[
    bool, typer.Option("--purge", help="Remove the configuration and all that is cached, too.")
]
_PythonOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The Python that the service runs with; without it the one that runs this, or the system's.",
    ),
]
_THIS = Path("/")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command, help_text, kinds in (
        ("install", "Set the server up as a service.", (install_systemd, install_compose)),
        ("uninstall", "Remove the service; what is cached stays.", (uninstall_systemd, uninstall_compose)),
    ):
        group = typer.Typer(
            help=help_text,
            invoke_without_command=True,
            rich_markup_mode=None,
            epilog=f"Example: registry-proxy {command} systemd",
        )
        for kind, function in zip(("systemd", "compose"), kinds, strict=True):
            group.command(kind, epilog=f"Example: registry-proxy {command} {kind} --dry-run")(function)
        group.callback()(_ask)
        app.add_typer(group, name=command)


def _ask(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from registry_proxy.cli.install_run import ask_kind  # noqa: PLC0415

    command = context.info_name or ""
    functions = {
        ("install", "systemd"): install_systemd,
        ("install", "compose"): install_compose,
        ("uninstall", "systemd"): uninstall_systemd,
        ("uninstall", "compose"): uninstall_compose,
    }
    functions[command, ask_kind(command)]()


def install_systemd(  # noqa: PLR0917 - each is an option of the command
    config: ConfigOption = None,
    root: _RootOption = _THIS,
    python: _PythonOption = None,
    no_start: _NoStartOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """A systemd service with a user of its own.

    The program goes to /opt/registry-proxy, the configuration and the files of its folder that it names to
    /etc/registry-proxy, what is cached to /var/lib/registry-proxy. Takes root.
    """
    from registry_proxy.cli.install_run import Manner, carry_out  # noqa: PLC0415
    from registry_proxy.setup.install.systemd import SystemdOptions, install  # noqa: PLC0415

    options = SystemdOptions(
        _found(config), root.absolute(), python and python.absolute(), start=not no_start
    )
    carry_out(lambda: install(options), Manner(yes, dry_run, json))


def uninstall_systemd(
    root: _RootOption = _THIS,
    purge: _PurgeOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Stop and remove the systemd service. Configuration, user and what is cached stay."""
    from registry_proxy.cli.install_run import Manner, carry_out  # noqa: PLC0415
    from registry_proxy.setup.install.systemd import uninstall  # noqa: PLC0415

    carry_out(lambda: uninstall(root.absolute(), purge=purge), Manner(yes, dry_run, json))


def install_compose() -> None:
    """to come"""
    raise UsageError("not yet")


def uninstall_compose() -> None:
    """to come"""
    raise UsageError("not yet")


def _found(config: Path | None) -> Path | None:
    path = config or find_config_file()
    return path and path.absolute()
