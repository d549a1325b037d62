"""`registry-proxy client`: its options. What it does is in `client_run`, loaded when it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from registry_proxy.commands.common import ConfigOption, JsonOption, UsageError, YesOption, settings_loader

# \b keeps the lines as they are.
EXAMPLES = """\b
Examples:
  registry-proxy client docker
  registry-proxy client docker --apply --restart
  registry-proxy client containerd --apply --ssh root@node1
  registry-proxy client podman --undo"""


def _file(text: str) -> Any:
    return typer.Option(metavar="FILE", exists=True, dir_okay=False, help=text)


_FileOption = Path | None
_SERVER = "How clients reach the server, such as http://192.0.2.7:5000, where its configuration doesn't tell."
_KINDS = "docker, containerd, podman, cri-o, skopeo, buildah, buildkit, k3s, rke2, kind or talos"


def client(  # noqa: PLR0913, PLR0917 - each is an option of the command
    kind: Annotated[str, typer.Argument(metavar="KIND", help=_KINDS, show_default=False)],
    config: ConfigOption = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help=_SERVER)] = None,
    ca: Annotated[_FileOption, _file("The private authority of the server's certificate, in PEM.")] = None,
    client_cert: Annotated[_FileOption, _file("The client's certificate, in PEM.")] = None,
    client_key: Annotated[_FileOption, _file("The key of the client's certificate, in PEM.")] = None,
    username: Annotated[
        str | None, typer.Option(metavar="USER", help="The client's login at the cache.")
    ] = None,
    password_file: Annotated[_FileOption, _file("A file with nothing but its password.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read its password from standard input.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--default", help="Ask the cache for all registries, also those it doesn't know.")
    ] = False,
    user: Annotated[
        bool, typer.Option("--user", help="The files of the user (rootless), not the system's.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Change the files, after showing how.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Give the files back as they were.")] = False,
    ssh: Annotated[
        str | None, typer.Option(metavar="HOST", help="Change that machine, not this one.")
    ] = None,
    ssh_options: Annotated[
        str, typer.Option(metavar="TEXT", help="Options for ssh, such as '-p 2222'.")
    ] = "",
    sudo: Annotated[bool, typer.Option("--sudo", help="With --ssh: be root there, by sudo.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Also have the client read what has changed.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Show the files that make a client pull through this server, or change them here or on another machine.

    Without --apply nothing is changed. Other settings in the same files stay. What was there is kept, and
    --undo gives it back byte for byte. Exit code 1 if it can't be done; then nothing was changed.
    """
    from registry_proxy.commands.client import run as client_run  # noqa: PLC0415

    if apply and undo:
        raise UsageError("--apply and --undo exclude each other.")
    where = client_run.Where(ssh, tuple(shlex.split(ssh_options)), sudo)
    manner = client_run.Manner(yes=yes, as_json=json, restart=restart)
    if undo:
        client_run.undo(kind, where, manner, user=user)
        return
    needs = client_run.Needs(
        server, ca, client_cert, client_key, username, password_file, password_stdin, everything, user
    )
    (client_run.apply if apply else client_run.show)(kind, settings_loader(config)(), needs, where, manner)
