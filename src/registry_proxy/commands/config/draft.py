"""The files that the answers come to, checked as the server will read them, before anything is written."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.config.answers import changes
from registry_proxy.commands.config.documents import (
    change_env,
    change_toml,
    masked_env,
    masked_toml,
    variables,
)
from registry_proxy.commands.config.htpasswd import users_of, with_users
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.writing import PRIVATE, NewFile
from registry_proxy.config import load
from registry_proxy.config.layers import PREFIX, Key, variable_name
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_proxy.commands.config.answers import Answers
    from registry_proxy.commands.config.context import Context
    from registry_proxy.config import Settings

KNOWN = {preset.name: preset for preset in PRESETS}
# The hashes are nobody's business; a group may be that of the service.
_USERS_MODE = 0o640


@dataclass(frozen=True, slots=True)
class DraftFile:
    """A file as it is and as it shall be; the `shown` texts are without secrets."""

    path: Path
    before: str | None = field(repr=False)
    after: str = field(repr=False)
    shown_before: str
    shown_after: str
    mode: int = 0o644

    @property
    def is_new(self) -> bool:
        """Whether anything is to be written."""
        return self.before != self.after

    def difference(self) -> str:
        """What changes, as a unified diff."""
        names = (str(self.path) if self.before is not None else "/dev/null", str(self.path))
        lines = (self.shown_before.splitlines(), self.shown_after.splitlines())
        return "\n".join(difflib.unified_diff(*lines, *names, lineterm=""))


@dataclass(frozen=True, slots=True)
class Draft:
    """All files, in the order of writing, and the settings that they make."""

    files: tuple[DraftFile, ...]
    settings: Settings

    def to_write(self) -> list[NewFile]:
        """What is new of it."""
        return [NewFile(file.path, file.after, file.mode) for file in self.files if file.is_new]


def make_draft(context: Context) -> Draft:
    """The files for the wishes. Raises ConfigError when the server could not use them, MissingAnswerError."""
    answers, path = context.answers, context.file
    env = path.with_name(".env")
    before, env_before = _read(path), _read(env)
    defaults = {name for name, preset in KNOWN.items() if preset.default}
    wanted = changes(answers, context.old, defaults)
    tables = [("upstreams", name) for name in answers.registries if name not in defaults]
    without = ("tls",) if answers.without_tls else ()
    written = {key: _short(key, value, path.parent) for key, value in wanted.items()}
    after = change_toml(before, written, tables=tables, without=without)
    env_after = change_env(env_before, _variables(answers, wanted, env_before))
    settings = load(path, {}, KNOWN, {path: after, env: env_after})
    files = [
        _draft_file(env, env_before, env_after, masked_env, PRIVATE),
        *_users_file(answers),
        _draft_file(path, before, after, masked_toml),
    ]
    return Draft(tuple(files), settings)


def _short(key: Key, value: Any, folder: Path) -> Any:
    """Files beside the configuration by their names: so they can move together."""
    if isinstance(value, list):
        return [_short(key, item, folder) for item in value]
    if key == ("storage", "path") or not isinstance(value, str) or not value.startswith(f"{folder}/"):
        return value
    return value.removeprefix(f"{folder}/")


def _variables(answers: Answers, wanted: dict[Key, object], text: str | None) -> dict[Key, str | None]:
    """What becomes of `.env`: what the file says now must not be overridden there."""
    present = variables(text)
    overriding: dict[Key, str | None] = {key: None for key in wanted if variable_name(key) in present}
    if answers.without_tls:
        prefix = f"{PREFIX}TLS_"
        overriding |= {
            ("tls", name.removeprefix(prefix)): None for name in present if name.startswith(prefix)
        }
    return overriding | answers.secrets


def _users_file(answers: Answers) -> list[DraftFile]:
    if answers.htpasswd is None or not answers.users:
        return []
    before = _read(answers.htpasswd)
    after = with_users(before, answers.users)
    return [_draft_file(answers.htpasswd, before, after, lambda text: _names(text, answers), _USERS_MODE)]


def _names(text: str, answers: Answers) -> str:
    """The users alone."""
    new = " (a new password)"
    shown = {name: new if name in answers.users else "" for name in users_of(text)}
    return "".join(f"{name}{note}\n" for name, note in shown.items())


def _draft_file(
    path: Path, before: str | None, after: str, shown: Callable[[str], str], mode: int = 0o644
) -> DraftFile:
    if before is None and not after:
        before = after
    return DraftFile(path, before, after, shown(before or ""), shown(after), mode)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise MissingAnswerError(f"can't read {path}: {reason}.") from None
