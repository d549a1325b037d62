"""`registry-proxy install` and `uninstall`: their options. What they do is in `install_run`, loaded when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.commands.common import ConfigOption, JsonOption, UsageError, YesOption
from registry_proxy.config import find_config_file

if TYPE_CHECKING:
    from collections.abc import Callable

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
    texts = {
        "install": "Set the server up as a service.",
        "uninstall": "Remove the service; what is cached stays.",
    }
    for command, help_text in texts.items():
        group = typer.Typer(
            help=help_text,
            invoke_without_command=True,
            rich_markup_mode=None,
            epilog=f"Example: registry-proxy {command} systemd",
        )
        for kind, function in _functions()[command].items():
            group.command(kind, epilog=f"Example: registry-proxy {command} {kind} --dry-run")(function)
        group.callback()(_ask)
        app.add_typer(group, name=command)


def _functions() -> dict[str, dict[str, Callable[..., None]]]:
    return {
        "install": {"systemd": install_systemd, "compose": install_compose},
        "uninstall": {"systemd": uninstall_systemd, "compose": uninstall_compose},
    }


def _ask(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from registry_proxy.commands.install.run import ask_kind  # noqa: PLC0415

    command = context.info_name or ""
    _functions()[command][ask_kind(command)]()


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
    from registry_proxy.commands.install.run import Manner, carry_out  # noqa: PLC0415
    from registry_proxy.commands.install.systemd import SystemdOptions, install  # noqa: PLC0415

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
    from registry_proxy.commands.install.run import Manner, carry_out  # noqa: PLC0415
    from registry_proxy.commands.install.systemd import uninstall  # noqa: PLC0415

    carry_out(lambda: uninstall(root.absolute(), purge=purge), Manner(yes, dry_run, json))


def install_compose(  # noqa: PLR0913, PLR0917 - each is an option of the command
    config: ConfigOption = None,
    per_registry: Annotated[
        bool, typer.Option("--per-registry", help="A container for each registry, with a port of its own.")
    ] = False,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="registry-proxy, or registry2: registry:2 as each cache.")
    ] = "registry-proxy",
    traefik: Annotated[
        bool, typer.Option("--traefik", help="Traefik, which runs already, serves it under its host names.")
    ] = False,
    traefik_network: Annotated[str, typer.Option(metavar="NAME", help="Traefik's network.")] = "traefik",
    entrypoint: Annotated[str, typer.Option(metavar="NAME", help="Traefik's entry point.")] = "websecure",
    cert_resolver: Annotated[
        str, typer.Option(metavar="NAME", help="Traefik's certificate resolver.")
    ] = "letsencrypt",
    hostname: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --traefik: one host name for all registries.")
    ] = None,
    host_network: Annotated[
        bool,
        typer.Option("--host-network", help="No network of its own: the server sees its clients' addresses."),
    ] = False,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="An image that is there already; none is built.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The image to build on, with Python and its venv module."),
    ] = None,
    no_start: _NoStartOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """A stack for Docker Compose, beside the configuration.

    Writes docker-compose.yaml, builds the image from this checkout, and starts it.
    """
    from registry_proxy.commands.install.compose import ENGINES, ComposeOptions, install  # noqa: PLC0415
    from registry_proxy.commands.install.run import Manner, carry_out  # noqa: PLC0415
    from registry_proxy.commands.install.stack import Choices  # noqa: PLC0415
    from registry_proxy.commands.install.traefik import Traefik  # noqa: PLC0415

    if engine not in ENGINES:
        raise UsageError(f"{engine} is not an engine. Known are {', '.join(ENGINES)}.")
    if hostname and not traefik:
        raise UsageError("--hostname goes with --traefik; otherwise set tls.hostnames.")
    front = Traefik(traefik_network, entrypoint, cert_resolver, hostname) if traefik else None
    choices = Choices(per_registry, front, host_network)
    options = ComposeOptions(_found(config), choices, engine, image, base, start=not no_start)
    carry_out(lambda: install(options), Manner(yes, dry_run, json))


def uninstall_compose(
    config: ConfigOption = None,
    purge: _PurgeOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Stop and remove the stack beside the configuration. The configuration and what is cached stay."""
    from registry_proxy.commands.install.compose import uninstall  # noqa: PLC0415
    from registry_proxy.commands.install.run import Manner, carry_out  # noqa: PLC0415

    carry_out(lambda: uninstall(_found(config), purge=purge), Manner(yes, dry_run, json))


def _found(config: Path | None) -> Path | None:
    path = config or find_config_file()
    return path and path.absolute()
