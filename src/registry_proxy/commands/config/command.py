"""Options of `registry-proxy config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.common import JsonOption, YesOption, command
from registry_proxy.commands.config.context import Flags
from registry_proxy.commands.config.run import run

# \b keeps the lines as they are.
EXAMPLES = """\b
Examples:
  registry-proxy config
  registry-proxy config --yes --domain registry.example.com --certificates letsencrypt --agree-tos
  registry-proxy config --yes --registry dockerhub --username dockerhub=me --password-file dockerhub=hub.password
  registry-proxy config --yes --hostname registry.example.com --certificates files --cert tls.pem --key tls.key
  registry-proxy config --yes --access basic --user me=me.password --max-size 500GiB
  registry-proxy config --json --registry ghcr --listen '[::]:5000'"""


def _flag(metavar: str, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


_Texts = list[str] | None
_Text = str | None
_Path = Path | None


@command(EXAMPLES)
def config(  # noqa: PLR0913, PLR0917 - each is an option of the command
    file: Annotated[
        _Path, _flag("FILE", "The file to write. Default: ./registry-proxy.toml.", "--config")
    ] = None,
    registry: Annotated[
        _Texts, _flag("NAME", "A registry to cache, or NAME=REGISTRY for one without a preset.")
    ] = None,
    domain: Annotated[_Text, _flag("DOMAIN", "Set the host name NAME.DOMAIN for each registry.")] = None,
    hostname: Annotated[
        _Texts, _flag("HOST", "A host name for all registries, or NAME=HOST for one.")
    ] = None,
    username: Annotated[
        _Texts, _flag("NAME=USER", "The user name at a registry, or NAME= to remove it.")
    ] = None,
    password_file: Annotated[
        _Texts, _flag("NAME=FILE", "The file that contains the password. The server reads it.")
    ] = None,
    password_stdin: Annotated[_Text, _flag("NAME", "Read a registry's password from standard input.")] = None,
    certificates: Annotated[
        _Text,
        _flag("SOURCE", "letsencrypt, letsencrypt-staging, files, none, or the URL of an ACME directory."),
    ] = None,
    email: Annotated[_Text, _flag("ADDRESS", "The e-mail address of the ACME account.")] = None,
    agree_tos: Annotated[
        bool, typer.Option("--agree-tos", help="Agree to the CA's terms of service.")
    ] = False,
    acme_root: Annotated[_Path, _flag("FILE", "The root certificate of the ACME server (Step-CA).")] = None,
    eab_kid: Annotated[_Text, _flag("ID", "The key identifier of an external account.")] = None,
    eab_key_file: Annotated[
        _Path, _flag("FILE", "The file that contains its HMAC key. The server reads it.")
    ] = None,
    cert: Annotated[list[Path] | None, _flag("FILE", "A certificate with its intermediates, in PEM.")] = None,
    key: Annotated[list[Path] | None, _flag("FILE", "The key of the certificate, in PEM.")] = None,
    listen: Annotated[_Text, _flag("HOST:PORT", "The addresses to listen on, separated by commas.")] = None,
    access: Annotated[
        _Texts, _flag("METHOD", "The clients that may pull: anyone, basic, certificates, sources.")
    ] = None,
    htpasswd: Annotated[_Path, _flag("FILE", "The file with the users, for basic.")] = None,
    user: Annotated[_Texts, _flag("NAME=FILE", "Add a user with the password in FILE.")] = None,
    client_ca: Annotated[_Path, _flag("FILE", "The CA of client certificates, in PEM.")] = None,
    client_name: Annotated[_Texts, _flag("PATTERN", "A name that client certificates may have.")] = None,
    source: Annotated[_Texts, _flag("NETWORK", "A network that may pull.")] = None,
    trusted_proxy: Annotated[
        _Texts, _flag("NETWORK", "The network of a reverse proxy whose X-Forwarded-For is used.")
    ] = None,
    path: Annotated[_Path, _flag("DIR", "The directory of the store.")] = None,
    max_size: Annotated[_Text, _flag("SIZE", "The maximum size of the store, such as 500GiB.")] = None,
    public_url: Annotated[
        _Text, _flag("URL", "How clients reach the server, if no host name says it.")
    ] = None,
    runner: Annotated[_Text, _flag("NAME", "How the server will run: systemd, compose or serve.")] = None,
    activate: Annotated[
        bool, typer.Option("--apply", help="Also let the installed service apply the changes.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not test credentials, host names and certificates.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Ask for the settings, and write them to registry-proxy.toml, with secrets in .env in the same directory.

    An option replaces its question. With --yes, or without a terminal, nothing is asked: a setting without an option
    keeps its value in the existing file, or its default. --json prints the files instead of writing them.

    For an installed service, the new files are first checked as its user. A change that the service could not use is
    undone.
    """
    flags = Flags.of({**locals(), "check": not no_check})
    run(file, flags, RunOptions(yes, json, dry_run=json), activate=activate)
