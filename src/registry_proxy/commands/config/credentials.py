"""The credentials of upstreams, tried at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from registry_proxy.commands.config.answers import CREDENTIALS
from registry_proxy.commands.config.checks import is_a, optional
from registry_proxy.commands.config.context import pairs
from registry_proxy.commands.config.credential_check import try_credentials
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.passwords import PasswordError, checked, password_from_stdin, password_in
from registry_proxy.config.settings import UpstreamSettings
from registry_proxy.config.types import Username
from registry_proxy.service.wiring.upstreams import preset_of
from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_is_username = is_a(Username)


def ask_credentials(context: Context) -> None:
    """Which registries are asked with a user name and a password."""
    flags = context.flags
    if flags.username or flags.password_file or flags.password_stdin:
        _take_flags(context)
        return
    names = context.answers.registries
    before = [name for name in names if (upstream := _before(context, name)) and _has_credentials(upstream)]
    chosen = context.prompter.choose_many(
        "Credentials for which registries? (private images, and Docker Hub's higher limits)",
        {name: f"{name:<11} {_settings(context, name).registry}" for name in names},
        before,
    )
    for name in before:
        if name not in chosen:
            _wish(context, name, None, None)
    if context.prompter.attended:
        for name in chosen:
            _ask(context, name)


def _ask(context: Context, name: str) -> None:
    before = _before(context, name)
    if before is not None and before.program:
        context.prompter.tell(f"{name}: its password comes from {before.program}, and stays so.")
        return
    default = (before.username if before else None) or ""
    while True:
        username = context.prompter.text(
            f"User name at {name}:", default, _is_username, f"--username {name}=USER"
        )
        may_stay = before is not None and before.password is not None and username == default
        password = _ask_password(context, may_stay=may_stay)
        if not password or _holds(context, name, Credentials(username, password)):
            break
    if password:
        _wish(context, name, username, password)


def _ask_password(context: Context, *, may_stay: bool) -> str:
    """The password; empty for the one that is there."""
    if may_stay:
        return context.prompter.secret("Password or access token (empty: as it is):", optional(_problem))
    return context.prompter.secret("Password or access token:", _problem)


def _problem(text: str) -> str | None:
    try:
        checked(text, "This")
    except PasswordError as error:
        return str(error)
    return None


def _take_flags(context: Context) -> None:
    """What the flags say; credentials that they don't name stay."""
    flags = context.flags
    usernames = pairs("--username", flags.username)
    files = pairs("--password-file", flags.password_file)
    named = {*usernames, *files, *([flags.password_stdin] if flags.password_stdin else [])}
    for name in sorted(named):
        if name not in context.answers.registries:
            raise MissingAnswerError(f"credentials for {name}, which is not among the registries.")
        before = _before(context, name)
        username = usernames.get(name, (before.username if before else None) or "")
        if name in usernames and not username:
            _wish(context, name, None, None)
        elif not username:
            raise MissingAnswerError(f"--username {name}=USER is missing.")
        else:
            _take_password(context, name, username, files.get(name))


def _take_password(context: Context, name: str, username: str, file: str | None) -> None:
    before = _before(context, name)
    if name == context.flags.password_stdin:
        password, path = password_from_stdin(), None
    elif file is not None:
        path = context.absolute(file)
        password = password_in(context.folder / path)
    elif before is not None and before.password is not None:
        password, path = None, None
    else:
        raise MissingAnswerError(f"--password-file {name}=FILE or --password-stdin {name} is missing.")
    tried = password or (before.password.get_secret_value() if before and before.password else "")
    _holds(context, name, Credentials(username, tried))
    if password is None:
        context.answers.values["upstreams", name, "username"] = username
    else:
        _wish(context, name, username, None if path else password, path)


def _holds(context: Context, name: str, credentials: Credentials) -> bool:
    """Whether the credentials are right, or wanted in spite of it."""
    if not context.flags.check:
        return True
    outcome = asyncio.run(try_credentials(preset_of(name, _settings(context, name)), credentials))
    if not outcome.accepted:
        return context.accept(outcome.text)
    context.prompter.tell(outcome.text)
    return True


def _wish(
    context: Context, name: str, username: str | None, password: str | None, file: str | None = None
) -> None:
    """One place for the password, and no other."""
    for key in CREDENTIALS:
        context.answers.values["upstreams", name, key] = None
    context.answers.values["upstreams", name, "username"] = username
    context.answers.values["upstreams", name, "password_file"] = file
    context.answers.secrets["upstreams", name, "password"] = password


def _before(context: Context, name: str) -> UpstreamSettings | None:
    return context.old.upstreams.get(name) if context.old else None


def _has_credentials(upstream: UpstreamSettings) -> bool:
    return upstream.username is not None or upstream.program is not None


def _settings(context: Context, name: str) -> UpstreamSettings:
    """What is known of the registry, as far as it was answered."""
    if before := _before(context, name):
        return before
    preset = next((preset for preset in PRESETS if preset.name == name), None)
    registry = context.answers.values.get(("upstreams", name, "registry")) or (
        preset.registry if preset else name
    )
    url = preset.url if preset and preset.registry == registry else f"https://{registry}"
    return UpstreamSettings(registry=registry, url=url)
