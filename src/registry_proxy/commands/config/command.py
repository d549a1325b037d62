"""`registry-proxy config`: its options. What it does is in `config_run`, loaded when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from registry_proxy.commands.common import JsonOption, YesOption  # noqa: TC001 - typer looks them up

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


def config(  # noqa: PLR0913, PLR0917 - each is an option of the command
    file: Annotated[
        _Path, _flag("FILE", "The file to write; else ./registry-proxy.toml.", "--config")
    ] = None,
    registry: Annotated[
        _Texts, _flag("NAME", "A registry to cache; NAME=REGISTRY for an unknown one.")
    ] = None,
    domain: Annotated[_Text, _flag("DOMAIN", "A host name NAME.DOMAIN for each registry.")] = None,
    hostname: Annotated[_Texts, _flag("HOST", "A host name for all registries; NAME=HOST for one.")] = None,
    username: Annotated[_Texts, _flag("NAME=USER", "The user name at a registry; NAME= for none.")] = None,
    password_file: Annotated[_Texts, _flag("NAME=FILE", "The file that has and keeps its password.")] = None,
    password_stdin: Annotated[_Text, _flag("NAME", "Read a registry's password from standard input.")] = None,
    certificates: Annotated[
        _Text,
        _flag("SOURCE", "letsencrypt, letsencrypt-staging, files, none, or the URL of an ACME directory."),
    ] = None,
    email: Annotated[_Text, _flag("ADDRESS", "Where the ACME server may write to.")] = None,
    agree_tos: Annotated[bool, typer.Option("--agree-tos", help="Agree to the authority's terms.")] = False,
    acme_root: Annotated[_Path, _flag("FILE", "The ACME server's own root certificate (Step-CA).")] = None,
    eab_kid: Annotated[_Text, _flag("ID", "The key identifier of an external account.")] = None,
    eab_key_file: Annotated[_Path, _flag("FILE", "The file that has and keeps its HMAC key.")] = None,
    cert: Annotated[list[Path] | None, _flag("FILE", "A certificate with its intermediates, in PEM.")] = None,
    key: Annotated[list[Path] | None, _flag("FILE", "Its key, in PEM.")] = None,
    listen: Annotated[_Text, _flag("HOST:PORT", "Where to listen, with commas between several.")] = None,
    access: Annotated[_Texts, _flag("WAY", "Who may pull: anyone, basic, certificates, sources.")] = None,
    htpasswd: Annotated[_Path, _flag("FILE", "The file with the users, for basic.")] = None,
    user: Annotated[_Texts, _flag("NAME=FILE", "Add a user, with the password in that file.")] = None,
    client_ca: Annotated[_Path, _flag("FILE", "The authority of client certificates, in PEM.")] = None,
    client_name: Annotated[_Texts, _flag("PATTERN", "A name that client certificates may have.")] = None,
    source: Annotated[_Texts, _flag("NETWORK", "A network that clients may come from.")] = None,
    trusted_proxy: Annotated[
        _Texts, _flag("NETWORK", "A reverse proxy's; its X-Forwarded-For counts.")
    ] = None,
    path: Annotated[_Path, _flag("FOLDER", "Where to keep the content.")] = None,
    max_size: Annotated[_Text, _flag("SIZE", "How much it may take, such as 500GiB.")] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Don't try credentials, host names and certificates.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Ask what to cache and for whom, and write registry-proxy.toml, with secrets in .env beside it.

    A question that an option answers isn't asked. With --yes, and without a terminal, none is: then what no option
    tells is as in an earlier file, or the default. --json shows what would be written, and writes nothing.
    """
    given = locals()
    from registry_proxy.commands.config import run as config_run  # noqa: PLC0415
    from registry_proxy.commands.config.context import Flags  # noqa: PLC0415

    flags = Flags.of({**given, "check": not no_check})
    config_run.run(file, flags, yes=yes, as_json=json)
