"""Options of `registry-proxy client`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.client import run as client_run
from registry_proxy.commands.client.options import ClientOptions, Target
from registry_proxy.commands.common import (
    ConfigOption,
    JsonOption,
    UsageError,
    YesOption,
    command,
    settings_loader,
)

# \b keeps the lines as they are.
EXAMPLES = """\b
Examples:
  registry-proxy client docker
  registry-proxy client docker --apply --restart
  registry-proxy client containerd --apply --ssh root@node1
  registry-proxy client docker --script > mirror.sh
  registry-proxy client podman --undo"""


def _file(text: str) -> Any:
    return typer.Option(metavar="FILE", exists=True, dir_okay=False, help=text)


_FileOption = Path | None
_SERVER = (
    "Address of the server for clients, such as http://192.0.2.7:5000, if the configuration contains none."
)
_DEFAULT = "Send pulls from every registry to the cache first, including registries it does not serve."
_KINDS = "docker, containerd, podman, cri-o, skopeo, buildah, buildkit, k3s, rke2, kind or talos"


@command(EXAMPLES)
def client(  # noqa: PLR0913, PLR0917 - each is an option of the command
    kind: Annotated[str, typer.Argument(metavar="KIND", help=_KINDS, show_default=False)],
    config: ConfigOption = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help=_SERVER)] = None,
    ca: Annotated[_FileOption, _file("The private CA of the server's certificate, in PEM.")] = None,
    client_cert: Annotated[_FileOption, _file("The client's certificate, in PEM.")] = None,
    client_key: Annotated[_FileOption, _file("The key of the client's certificate, in PEM.")] = None,
    username: Annotated[
        str | None, typer.Option(metavar="USER", help="The user name of the client at the cache.")
    ] = None,
    password_file: Annotated[_FileOption, _file("A file that contains only its password.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read its password from standard input.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--default", help=_DEFAULT),
    ] = False,
    user: Annotated[
        bool, typer.Option("--user", help="Use the files of the user (rootless), not the system's.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Show the changes, and make them.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Restore the previous files.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --undo: also if this loses changes by other programs.")
    ] = False,
    ssh: Annotated[str | None, typer.Option(metavar="HOST", help="Change another machine.")] = None,
    ssh_options: Annotated[
        str, typer.Option(metavar="TEXT", help="Options for ssh, such as '-p 2222'.")
    ] = "",
    sudo: Annotated[bool, typer.Option("--sudo", help="With --ssh: use sudo on that machine.")] = False,
    script: Annotated[
        bool,
        typer.Option(
            "--script", help="Print a shell script for a machine without this program and without ssh."
        ),
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Also make the client read the changed files.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Show the files that make a client pull through this server, or change them here or on another machine.

    Without --apply nothing is changed. Other settings in the same files stay. The previous files are saved, and
    --undo restores them byte for byte. If it fails, the exit code is 1 and nothing was changed.
    """
    if apply + undo + script > 1:
        raise UsageError("--apply, --undo and --script exclude each other.")
    if force and not undo:
        raise UsageError("--force requires --undo.")
    target = Target(ssh, tuple(shlex.split(ssh_options)), sudo)
    run_options = RunOptions(yes=yes, as_json=json)
    if undo:
        client_run.undo(kind, target, run_options, user=user, restart=restart, force=force)
        return
    options = ClientOptions(
        server, ca, client_cert, client_key, username, password_file, password_stdin, everything, user
    )
    settings = settings_loader(config)()
    if apply:
        client_run.apply(kind, settings, options, target, run_options, restart=restart)
        return
    if ssh or restart:
        raise UsageError("--ssh and --restart require --apply or --undo.")
    if script:
        client_run.print_script(kind, settings, options)
        return
    client_run.show(kind, settings, options, as_json=json)
