"""Questions about the clients that may pull."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.config.ask_addresses import listens_locally
from registry_proxy.commands.config.ask_certificates import NONE
from registry_proxy.commands.config.context import pairs
from registry_proxy.commands.config.draft import read_text
from registry_proxy.commands.config.htpasswd import check_password, check_user, users_of
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.runner import unreadable
from registry_proxy.commands.config.validators import is_a, optional, split
from registry_proxy.commands.password_input import read_password
from registry_proxy.config.types import Networks

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.prompter import Prompter
    from registry_proxy.config.settings import AccessSettings

ANYONE, _BASIC, _CERTIFICATES, _SOURCES = "anyone", "basic", "certificates", "sources"
METHODS = (ANYONE, _BASIC, _CERTIFICATES, _SOURCES)
_are_networks = is_a(Networks, many=True)


def ask_access(context: Context, certificates: str) -> None:
    """Ask for the methods of access control, and their details."""
    methods = _given_methods(context) or _ask_methods(context, certificates)
    values = context.answers.values
    for key in ("htpasswd", "client_ca", "client_names", "sources"):
        values["access", key] = None
    if _BASIC in methods:
        _ask_users(context)
    if _CERTIFICATES in methods:
        _ask_client_ca(context)
    if _SOURCES in methods:
        _ask_sources(context)
    if certificates == NONE and {_BASIC, _SOURCES} & set(methods):
        _trust_the_proxy(context)


def _given_methods(context: Context) -> list[str]:
    flags = context.flags
    methods = [*flags.access]
    if unknown := set(methods) - set(METHODS):
        raise MissingAnswerError(f"--access {min(unknown)}: write {', '.join(METHODS)}.")
    implied = {_BASIC: flags.htpasswd or flags.user, _CERTIFICATES: flags.client_ca, _SOURCES: flags.source}
    methods += [method for method, given in implied.items() if given and method not in methods]
    if ANYONE in methods and len(methods) > 1:
        raise MissingAnswerError("--access anyone excludes the other methods.")
    return methods


def _ask_methods(context: Context, certificates: str) -> list[str]:
    choices = {
        _BASIC: "users with a password",
        _CERTIFICATES: "machines with a client certificate from your CA",
        _SOURCES: "clients in certain networks",
    }
    if certificates == NONE:
        del choices[_CERTIFICATES]
    old = _old(context)
    before = [
        *([_BASIC] if old and old.htpasswd else []),
        *([_CERTIFICATES] if old and old.client_ca else []),
        *([_SOURCES] if old and old.sources else []),
    ]
    question = "Who may pull? (nothing selected: every client that can reach the server)"
    return context.prompter.choose_many(question, choices, [method for method in before if method in choices])


def _ask_users(context: Context) -> None:
    flags, old, prompter = context.flags, _old(context), context.prompter
    default = str((old.htpasswd if old else None) or "htpasswd")
    path = str(flags.htpasswd) if flags.htpasswd else default
    if not flags.htpasswd and not flags.user:
        path = prompter.text(
            "The file with the users:", default, lambda text: _users_problem(context, text), "--htpasswd"
        )
    context.answers.htpasswd = Path(context.absolute(path))
    context.answers.values["access", "htpasswd"] = context.absolute(path)
    present = users_of(read_text(context.answers.htpasswd))
    for name, file in pairs("--user", flags.user).items():
        password = read_password(Path(context.absolute(file)))
        if problem := check_user(name) or check_password(password):
            raise MissingAnswerError(f"--user {name}={file}: {problem}")
        context.answers.users[name] = password
    if prompter.interactive and not flags.user:
        _ask_new_users(context, present)
    if not present and not context.answers.users:
        raise MissingAnswerError(
            f"{context.answers.htpasswd} has no user. Add one with --user NAME=PASSWORD-FILE."
        )


def _users_problem(context: Context, text: str) -> str | None:
    if not text:
        return "Enter a path."
    exists = Path(context.absolute(text)).exists()
    return unreadable(context, text) if exists else None


def _ask_new_users(context: Context, present: list[str]) -> None:
    prompter, users = context.prompter, context.answers.users
    if present:
        prompter.print(f"The file contains these users: {', '.join(present)}.")
    while name := _ask_user(prompter, needed=not present and not users):
        users[name] = _ask_new_password(prompter, name)


def _ask_user(prompter: Prompter, *, needed: bool) -> str:
    question = "User name:" if needed else "Another user (empty: no more):"
    return prompter.text(question, "", check_user if needed else optional(check_user), "--user")


def _ask_new_password(prompter: Prompter, name: str) -> str:
    password = prompter.secret(f"Password of {name}:", check_password)
    prompter.secret("Repeat it:", lambda text: None if text == password else "The passwords differ.")
    return password


def _ask_client_ca(context: Context) -> None:
    flags, old, prompter = context.flags, _old(context), context.prompter
    default = str((old.client_ca if old else None) or "")
    path = str(flags.client_ca or "") or prompter.text(
        "The file with the CA certificate, in PEM:",
        default,
        lambda text: _ca_problem(context, text),
        "--client-ca",
    )
    if problem := _ca_problem(context, path):
        raise MissingAnswerError(f"--client-ca: {problem}")
    context.answers.values["access", "client_ca"] = context.absolute(path)
    names = ", ".join(flags.client_name or (old.client_names if old else ("*",)))
    if not flags.client_name:
        question = "Which names may the certificates have? (* matches any characters)"
        names = prompter.text(
            question, names, lambda text: None if split(text) else "Enter at least one.", "--client-name"
        )
    context.answers.values["access", "client_names"] = split(names) if split(names) != ["*"] else None


def _ca_problem(context: Context, text: str) -> str | None:
    if not text:
        return "Enter a path."
    if problem := unreadable(context, text):
        return problem
    found = read_text(Path(context.absolute(text))) or ""
    return None if "-----BEGIN CERTIFICATE-----" in found else f"{text} contains no certificate in PEM."


def _ask_sources(context: Context) -> None:
    old = _old(context)
    given = ", ".join(context.flags.source)
    default = ", ".join(map(str, old.sources)) if old else ""
    text = given or context.prompter.text(
        "Their networks, such as 10.0.0.0/8, 2001:db8::/32:", default, _networks_problem, "--source"
    )
    if problem := _networks_problem(text):
        raise MissingAnswerError(f"--source {text}: {problem}")
    context.answers.values["access", "sources"] = split(text)


def _networks_problem(text: str) -> str | None:
    return _are_networks(text) if split(text) else "Enter at least one network."


def _trust_the_proxy(context: Context) -> None:
    """Trust a local reverse proxy: its header contains the client's address, and all connections have the proxy's."""
    old, values = _old(context), context.answers.values
    if context.flags.trusted_proxy:
        values["access", "trusted_proxies"] = list(context.flags.trusted_proxy)
    elif listens_locally(values["server", "listen"]) and not (old and old.trusted_proxies):
        values["access", "trusted_proxies"] = ["127.0.0.0/8", "::1/128"]


def _old(context: Context) -> AccessSettings | None:
    return context.old.access if context.old else None
