"""The files with the new settings, checked as the server reads them before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.changes import dotenv
from registry_proxy.commands.changes.show import MASK
from registry_proxy.commands.config.answers import SECRETS, changed_settings
from registry_proxy.commands.config.htpasswd import users_of, with_users
from registry_proxy.commands.config.new_files import access_of_new_files
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.toml_file import change_toml, masked_toml
from registry_proxy.config import load
from registry_proxy.config.layers import PREFIX, Key, variable_name
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.commands.changes.files import WriteFile
    from registry_proxy.commands.config.answers import Answers
    from registry_proxy.commands.config.context import Context
    from registry_proxy.config import Settings

KNOWN = {preset.name: preset for preset in PRESETS}


@dataclass(frozen=True, slots=True)
class Draft:
    """The files, in the order of writing, and the settings that they contain."""

    files: tuple[WriteFile, ...]
    settings: Settings


def make_draft(context: Context) -> Draft:
    """Make the files. Raise ConfigError if the server could not use them, MissingAnswerError."""
    answers, path = context.answers, context.file
    env = path.with_name(".env")
    before, env_before = read_text(path), read_text(env)
    defaults = {name for name, preset in KNOWN.items() if preset.default}
    changes = changed_settings(answers, context.old, defaults)
    tables = [("upstreams", name) for name in answers.registries if name not in defaults]
    without = ("tls",) if answers.without_tls else ()
    written = {key: _relative(key, value, path.parent) for key, value in changes.items()}
    after = change_toml(before, written, tables=tables, without=without)
    env_after = dotenv.edit(env_before, _variables(answers, changes, env_before))
    settings = load(path, {}, KNOWN, {path: after, env: env_after})
    access = access_of_new_files(path)
    users = _users_file(answers)
    files = [] if users is None else [access.write(*users, lambda text: _names(text, answers), private=True)]
    files.append(access.write(path, after, masked_toml, private=False))
    if env_before is not None or env_after:
        files.insert(0, access.write(env, env_after, _masked_env, private=True))
    return Draft(tuple(files), settings)


def read_text(path: Path) -> str | None:
    """Return the text of a file, None if it is missing. Raise MissingAnswerError if it is unreadable."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the content is not UTF-8 text"
        raise MissingAnswerError(f"can't read {path}: {reason}.") from None


def _relative(key: Key, value: Any, directory: Path) -> Any:
    """Return the path of a file in the directory of the configuration relative to it: they can move together."""
    if isinstance(value, list):
        return [_relative(key, item, directory) for item in value]
    if key == ("storage", "path") or not isinstance(value, str) or not value.startswith(f"{directory}/"):
        return value
    return value.removeprefix(f"{directory}/")


def _variables(answers: Answers, changes: dict[Key, object], text: str | None) -> dict[str, str | None]:
    """Return the changes to `.env`: the secrets, and no variable that would override a changed setting."""
    present = dotenv.variables(text)
    removed = {name for key in changes if (name := variable_name(key)) in present}
    if answers.without_tls:
        removed |= {name for name in present if name.startswith(f"{PREFIX}TLS_")}
    secrets = {variable_name(key): value for key, value in answers.secrets.items()}
    return dict.fromkeys(sorted(removed)) | secrets


def _users_file(answers: Answers) -> tuple[Path, str] | None:
    """Return the path and the new text of the htpasswd file, None if it stays."""
    if answers.htpasswd is None or not answers.users:
        return None
    return answers.htpasswd, with_users(read_text(answers.htpasswd), answers.users)


def _names(text: str, answers: Answers) -> str:
    """Return only the names of the users."""
    new = " (a new password)"
    return "".join(f"{name}{new if name in answers.users else ''}\n" for name in users_of(text))


def _masked_env(text: str) -> str:
    return dotenv.masked(text, [f"_{name.upper()}" for name in SECRETS], MASK)
