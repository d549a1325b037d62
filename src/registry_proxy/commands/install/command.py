"""Options of `registry-proxy install` and `uninstall`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.common import ConfigOption, JsonOption, UsageError, YesOption
from registry_proxy.commands.install import compose, systemd
from registry_proxy.commands.install.run import apply, ask_kind
from registry_proxy.commands.install.stack import StackOptions
from registry_proxy.commands.install.traefik import Traefik
from registry_proxy.config import find_config_file

if TYPE_CHECKING:
    from collections.abc import Callable

_DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the changes without making them.")]
_RootOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR", exists=True, file_okay=False, help="Install into the system in this directory."
    ),
]
_NoStartOption = Annotated[bool, typer.Option("--no-start", help="Write all files, but start nothing.")]
_PurgeOption = Annotated[
    bool, typer.Option("--purge", help="Also remove the configuration and all cached content.")
]
_PythonOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The Python of the service. Default: the one that runs this command, then the system's.",
    ),
]
_THIS = Path("/")


def _group(command: str, text: str) -> typer.Typer:
    group = typer.Typer(
        help=text,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode=None,
        epilog=f"Example: registry-proxy {command} systemd",
    )
    for kind, function in _functions()[command].items():
        group.command(kind, epilog=f"Example: registry-proxy {command} {kind} --dry-run")(function)
    group.callback()(_ask)
    return group


def _functions() -> dict[str, dict[str, Callable[..., None]]]:
    return {
        "install": {"systemd": install_systemd, "compose": install_compose},
        "uninstall": {"systemd": uninstall_systemd, "compose": uninstall_compose},
    }


def _ask(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return

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
    """Install a systemd service that runs as a dedicated user.

    The program is copied to /opt/registry-proxy. The configuration, and the files in its directory that it refers to,
    are copied to /etc/registry-proxy. Cached content goes to /var/lib/registry-proxy. Requires root.
    """

    options = systemd.SystemdOptions(
        _found(config), root.absolute(), python and python.absolute(), start=not no_start
    )
    apply(systemd.install(options), RunOptions(yes, json, dry_run))


def uninstall_systemd(
    root: _RootOption = _THIS,
    purge: _PurgeOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Stop and remove the systemd service. The configuration, the user and the cached content stay."""

    apply(systemd.uninstall(root.absolute(), purge=purge), RunOptions(yes, json, dry_run))


def install_compose(  # noqa: PLR0913, PLR0917 - each is an option of the command
    config: ConfigOption = None,
    per_registry: Annotated[
        bool, typer.Option("--per-registry", help="Run one container per registry, each on its port.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(metavar="NAME", help="registry-proxy, or registry2 for one registry:2 per registry."),
    ] = "registry-proxy",
    traefik: Annotated[
        bool, typer.Option("--traefik", help="Let an existing Traefik serve it under its host names.")
    ] = False,
    traefik_network: Annotated[str, typer.Option(metavar="NAME", help="Traefik's network.")] = "traefik",
    entrypoint: Annotated[str, typer.Option(metavar="NAME", help="Traefik's entry point.")] = "websecure",
    cert_resolver: Annotated[
        str, typer.Option(metavar="NAME", help="Traefik's certificate resolver.")
    ] = "letsencrypt",
    hostname: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --traefik: the host name of all registries.")
    ] = None,
    host_network: Annotated[
        bool,
        typer.Option(
            "--host-network", help="Use the host's network: the server sees the addresses of its clients."
        ),
    ] = False,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use an existing image instead of building one.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The base image of the build, with Python and its venv module."),
    ] = None,
    no_start: _NoStartOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Install a Docker Compose stack in the directory of the configuration.

    Writes docker-compose.yaml, builds the image from this checkout, and starts the containers.
    """

    if engine not in compose.ENGINES:
        raise UsageError(f"{engine} is not an engine. Known are {', '.join(compose.ENGINES)}.")
    if hostname and not traefik:
        raise UsageError("--hostname requires --traefik. Without Traefik, set tls.hostnames.")
    front = Traefik(traefik_network, entrypoint, cert_resolver, hostname) if traefik else None
    stack = StackOptions(per_registry, front, host_network, image, base)
    options = compose.ComposeOptions(_found(config), stack, engine, start=not no_start)
    apply(compose.install(options), RunOptions(yes, json, dry_run))


def uninstall_compose(
    config: ConfigOption = None,
    purge: _PurgeOption = False,
    yes: YesOption = False,
    dry_run: _DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Stop and remove the stack in the directory of the configuration. Configuration and cached content stay."""

    apply(compose.uninstall(_found(config), purge=purge), RunOptions(yes, json, dry_run))


def _found(config: Path | None) -> Path | None:
    path = config or find_config_file()
    return path and path.absolute()


install = _group("install", "Install the server as a service.")
uninstall = _group("uninstall", "Remove the service, and keep the cached content.")
