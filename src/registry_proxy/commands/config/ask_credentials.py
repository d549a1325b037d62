"""Questions about the credentials of upstreams, which are tested at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from registry_proxy.commands.config.answers import CREDENTIALS
from registry_proxy.commands.config.context import pairs
from registry_proxy.commands.config.credential_check import try_credentials
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.validators import is_a, optional
from registry_proxy.commands.password_input import (
    PasswordError,
    checked_password,
    password_from_stdin,
    read_password,
)
from registry_proxy.config.settings import UpstreamSettings
from registry_proxy.config.types import Username
from registry_proxy.service.wiring.presets import preset_of
from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_is_username = is_a(Username)


def ask_credentials(context: Context) -> None:
    """Ask which registries require a user name and a password."""
    flags = context.flags
    if flags.username or flags.password_file or flags.password_stdin:
        _apply_flags(context)
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
            _set(context, name, None, None)
    if context.prompter.interactive:
        for name in chosen:
            _ask(context, name)


def _ask(context: Context, name: str) -> None:
    before = _before(context, name)
    if before is not None and before.program:
        context.prompter.print(f"{name}: {before.program} provides the credentials; this does not change.")
        return
    default = (before.username if before else None) or ""
    while True:
        username = context.prompter.text(
            f"User name at {name}:", default, _is_username, f"--username {name}=USER"
        )
        can_keep = before is not None and before.password is not None and username == before.username
        default = username  # for another attempt
        password = _ask_password(context, can_keep=can_keep)
        if not password or _accepted(context, name, Credentials(username, password)):
            break
    if password:
        _set(context, name, username, password)


def _ask_password(context: Context, *, can_keep: bool) -> str:
    """Return the password, or an empty text to keep the current one."""
    if can_keep:
        return context.prompter.secret(
            "Password or access token (empty: keep the current one):", optional(_problem)
        )
    return context.prompter.secret("Password or access token:", _problem)


def _problem(text: str) -> str | None:
    try:
        checked_password(text, "This")
    except PasswordError as error:
        return str(error)
    return None


def _apply_flags(context: Context) -> None:
    """Apply the flags; the credentials of all other registries stay."""
    flags = context.flags
    usernames = pairs("--username", flags.username)
    files = pairs("--password-file", flags.password_file)
    names = {*usernames, *files, *([flags.password_stdin] if flags.password_stdin else [])}
    for name in sorted(names):
        if name not in context.answers.registries:
            raise MissingAnswerError(f"credentials for {name}, which is not among the registries to cache.")
        before = _before(context, name)
        username = usernames.get(name, (before.username if before else None) or "")
        if name in usernames and not username:
            _set(context, name, None, None)
        elif not username:
            raise MissingAnswerError(f"--username {name}=USER is missing.")
        else:
            _apply_password(context, name, username, files.get(name))


def _apply_password(context: Context, name: str, username: str, file: str | None) -> None:
    before = _before(context, name)
    if name == context.flags.password_stdin:
        password, path = password_from_stdin(), None
    elif file is not None:
        path = context.absolute(file)
        password = read_password(context.directory / path)
    elif before is not None and before.password is not None:
        password, path = None, None
    else:
        raise MissingAnswerError(f"--password-file {name}=FILE or --password-stdin {name} is missing.")
    tested = password or (before.password.get_secret_value() if before and before.password else "")
    _accepted(context, name, Credentials(username, tested))
    if password is None:
        context.answers.values["upstreams", name, "username"] = username
    else:
        _set(context, name, username, None if path else password, path)


def _accepted(context: Context, name: str, credentials: Credentials) -> bool:
    """Return whether the registry accepts the credentials, or the user wants to keep them anyway."""
    if not context.flags.check:
        return True
    outcome = asyncio.run(try_credentials(preset_of(name, _settings(context, name)), credentials))
    if not outcome.accepted:
        return context.accept(outcome.text)
    context.prompter.print(outcome.text)
    return True


def _set(
    context: Context, name: str, username: str | None, password: str | None, file: str | None = None
) -> None:
    """Set the only place of the password, and remove all others."""
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
    """Return the settings of the registry that are known at this point."""
    if before := _before(context, name):
        return before
    preset = next((preset for preset in PRESETS if preset.name == name), None)
    registry = context.answers.values.get(("upstreams", name, "registry")) or (
        preset.registry if preset else name
    )
    url = preset.url if preset and preset.registry == registry else f"https://{registry}"
    return UpstreamSettings(registry=registry, url=url)
