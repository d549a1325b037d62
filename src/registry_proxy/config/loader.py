"""State of one load: the merged settings with their places, and the problems found so far."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from registry_proxy.config.problems import Problem, dotted, suggest
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

    from registry_proxy.config.layers import Entry, Key, Layer

_PATHS = {
    "path",
    "password_file",
    "cert",
    "key",
    "ca_root",
    "eab_hmac_key_file",
    "htpasswd",
    "client_ca",
    "access_htpasswd",
}
# These keys may hold a secret, possibly because it was written into the wrong key.
_NEVER_SHOWN = {"username", "password", "password_command", "url", "public_url", "acme", "eab_hmac_key"}
_TYPE_ERRORS = {
    "bool_type": ("must be true or false", "Write true or false, without quotes."),
    "int_type": ("must be an integer", "Write it in digits, without quotes."),
    "string_type": ("must be a string", "Put it in quotes."),
    "path_type": ("must be a string", "Put it in quotes."),
}

Model = TypeVar("Model", bound=BaseModel)


class Loader:
    """The merged `layer` of all sources, and the `problems` found in it."""

    def __init__(self, layer: Layer, problems: list[Problem]) -> None:
        self.layer = layer
        self.problems = problems

    def report(self, key: Key, text: str, remedy: str) -> None:
        """Add a problem with a key that is set."""
        self.problems.append(Problem(self.layer[key].origin, dotted(key), text, remedy))

    def validated(self, model: type[Model], prefix: Key) -> Model | None:
        """Return the settings of the table `prefix`, or None after reporting its problems."""
        entries = [(key, entry) for key, entry in self.layer.items() if key[:-1] == prefix]
        try:
            return model.model_validate({key[-1]: _resolved(key, entry) for key, entry in entries})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                key = (*prefix, str(detail["loc"][0]))
                self.report(key, *_explained(detail, key, model))
            return None

    def read_secret(self, path: Path, check: Callable[[SecretStr], SecretStr], key: Key) -> SecretStr | None:
        """Return the content of the secret's file, or None after reporting a problem with `key`.

        One line break at the end is ignored, since editors add it.
        """
        try:
            text = path.read_text("utf-8")
            return check(SecretStr(text.removesuffix("\n").removesuffix("\r")))
        except OSError as error:
            problem = f"can't read {path}: {error.strerror}"
            remedy = "Fix the file's path or its permissions."
        except UnicodeDecodeError:
            problem, remedy = f"{path} is not UTF-8 text", "Write only the secret into the file."
        except InvalidValueError as error:
            problem, remedy = f"the content of {path} {error.text}", error.remedy
        self.report(key, problem, remedy)
        return None


def _resolved(key: Key, entry: Entry) -> object:
    """Return the value, with relative paths resolved against the directory of its file."""
    base = entry.file.absolute().parent if entry.file else Path.cwd()
    if key[-1] == "password_command":
        return _resolved_command(base, entry.value)
    if key[-1] not in _PATHS:
        return entry.value
    if isinstance(entry.value, list):
        return [_resolved_path(base, item) for item in entry.value]
    return _resolved_path(base, entry.value)


def _resolved_command(base: Path, value: object) -> object:
    """Resolve a program with a slash in its name as a path. Others are searched in PATH."""
    if not isinstance(value, list) or not value or "/" not in str(value[0]):
        return value
    program = _resolved_path(base, value[0])
    return [str(program) if isinstance(program, Path) else program, *value[1:]]


def _resolved_path(base: Path, value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    return base / os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises if there is no home directory


def _explained(detail: ErrorDetails, key: Key, model: type[BaseModel]) -> tuple[str, str]:
    """Return the problem with a value, and how to fix it."""
    if detail["type"] == "extra_forbidden":
        known = f"Known keys are {', '.join(model.model_fields)}."
        return "is not a known key", suggest(key[-1], model.model_fields, known)
    text, remedy = _explained_value(detail)
    shown = "the value" if key[-1] in _NEVER_SHOWN else json.dumps(detail["input"], default=str)[:60]
    return f"{shown} {text}", remedy


def _explained_value(detail: ErrorDetails) -> tuple[str, str]:
    context = detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InvalidValueError):
        return cause.text, cause.remedy
    if detail["type"] == "literal_error":
        return "is not a known value", f"Write {context['expected']}."
    return _TYPE_ERRORS.get(detail["type"], ("is out of range", f"{detail['msg']}."))
