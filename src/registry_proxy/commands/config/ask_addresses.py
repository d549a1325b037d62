"""Questions about the addresses: those to listen on, and the one that clients use."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.runner import unusable_ports
from registry_proxy.commands.config.validators import is_a, optional, split
from registry_proxy.config.settings import ServerSettings, TlsSettings
from registry_proxy.config.types import Url
from registry_proxy.config.units import Address, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.prompter import Check

_PLAIN = ServerSettings().listen
_HIGH_TLS = "[::]:8443"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - names, not a listener
# RFC 5737: no host has this address. It only selects a route; no packet is sent.
_ELSEWHERE = ("192.0.2.1", 9)


def ask_listen(context: Context, hostnames: list[str]) -> None:
    """Ask for the addresses without TLS, and for the URL that clients use."""
    old = context.old
    before = ", ".join(map(str, old.server.listen if old and old.server.listen else _PLAIN))
    question = (
        "Where to listen without TLS? ([::]:5000: all networks, 127.0.0.1:5000: this machine and its proxy)"
    )
    check = _addresses_check(context, ())
    text = context.flags.listen or context.prompter.text(question, before, check, "--listen")
    if problem := check(text):
        raise MissingAnswerError(f"--listen {text}: {problem}")
    context.answers.values["server", "listen"] = split(text)
    _set_public_url(context, hostnames, split(text))


def ask_tls_listen(context: Context, names: Sequence[str]) -> None:
    """Set the addresses with TLS. Ask only if the server could not use them, or those without TLS next to them.

    `names` are the host names of the server and of its certificates.
    """
    old = context.old.tls if context.old else None
    settings = old or TlsSettings()
    listen, http = settings.listen, settings.http
    if context.flags.listen:
        listen = _parsed(context.flags.listen, "--listen")
        context.answers.values["tls", "listen"] = list(map(str, listen))
    elif problem := unusable_ports(context, (*listen, *http)):
        context.prompter.print(problem)
        check = _addresses_check(context, ())
        text = context.prompter.text("Where to listen with TLS?", _HIGH_TLS, check, "--listen")
        listen, http = _parsed(text, "--listen"), ()
        context.answers.values["tls", "listen"] = list(map(str, listen))
        context.answers.values["tls", "http"] = []
    _keep_plain_apart(context, (*listen, *http))
    _set_tls_public_url(context, names, listen[0].port)


def _keep_plain_apart(context: Context, tls: Sequence[Address]) -> None:
    """Ask for other addresses without TLS if the present ones are needed for TLS."""
    before = context.old.server.listen if context.old else _PLAIN
    check = _addresses_check(context, tls)
    if not before or check(", ".join(map(str, before))) is None:
        return
    text = context.prompter.text(
        "Where to listen without TLS, next to TLS?", ", ".join(map(str, _PLAIN)), check, "--listen"
    )
    context.answers.values["server", "listen"] = split(text)


def _set_tls_public_url(context: Context, names: Sequence[str], port: int) -> None:
    """Ask for the URL that clients use if no host name says it. Another one was that of a reverse proxy in front."""
    if names and context.answers.values["tls", "hostnames"] is None and not _hosted(context):
        _ask_public_url(context, f"https://{names[0]}" + ("" if port == 443 else f":{port}"))
    elif context.flags.public_url or (context.old is not None and context.old.tls is None):
        context.answers.values["server", "public_url"] = context.flags.public_url


def _set_public_url(context: Context, hostnames: list[str], addresses: list[str]) -> None:
    """Set the URL of a host name that serves all registries: no other key contains it. Ask if there is no name."""
    hosted = _hosted(context)
    shared = next((host for host in hostnames if host not in hosted), None)
    old = urlsplit((context.old.server.public_url if context.old else None) or "").hostname
    parsed = [Address.parse(each) for each in addresses]
    if context.flags.public_url:
        context.answers.values["server", "public_url"] = context.flags.public_url
    elif not hostnames and all(each.host in _WILDCARDS for each in parsed):
        _ask_public_url(context, f"http://{_own_address()}:{parsed[0].port}")
    elif shared is None and old not in hosted:
        context.answers.values["server", "public_url"] = None
    elif shared is not None and shared != old:
        url = f"https://{shared}" if listens_locally(addresses) else f"http://{shared}:{parsed[0].port}"
        context.answers.values["server", "public_url"] = url


def _ask_public_url(context: Context, proposal: str) -> None:
    """Ask how clients reach the server. Without a terminal, the present URL stays."""
    old = context.old.server.public_url if context.old else None
    url = context.flags.public_url or old
    if context.flags.public_url is None and context.prompter.interactive:
        question = "The URL of the server for its clients (empty: each client's files need --server):"
        url = context.prompter.text(question, old or proposal, optional(is_a(Url)), "--public-url")
    elif problem := optional(is_a(Url))(url or ""):
        raise MissingAnswerError(f"--public-url {url}: {problem}")
    context.answers.values["server", "public_url"] = url or None


def _own_address() -> str:
    """Return this machine's address on the way to other networks, or its name."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(_ELSEWHERE)
            return str(sock.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _addresses_check(context: Context, others: Sequence[Address]) -> Check:
    """Return a check of addresses to listen on. They must not overlap with each other or with `others`."""

    def check(text: str) -> str | None:
        try:
            addresses = [Address.parse(item) for item in split(text)]
        except InvalidValueError as error:
            return f"This {error}"
        pairs = [*itertools.combinations(addresses, 2), *itertools.product(addresses, others)]
        overlap = next((f"{one} and {other}" for one, other in pairs if one.overlaps(other)), None)
        if overlap or not addresses:
            return f"{overlap} overlap." if overlap else "Enter at least one address."
        return unusable_ports(context, addresses)

    return check


def _parsed(text: str, flag: str) -> tuple[Address, ...]:
    try:
        return tuple(Address.parse(item) for item in split(text))
    except InvalidValueError as error:
        raise MissingAnswerError(f"{flag} {text}: This {error}") from None


def listens_locally(addresses: list[str]) -> bool:
    """Return whether only this machine can reach these addresses."""
    return all(address.startswith(("127.", "localhost:", "[::1]:")) for address in addresses)


def _hosted(context: Context) -> set[str | None]:
    """Return the host names of single registries."""
    values = context.answers.values
    return {values["upstreams", name, "hostname"] for name in context.answers.registries} - {None}
