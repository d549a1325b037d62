"""Where settings come from: the file, a `.env` beside it, the environment. Each entry remembers its place."""

from __future__ import annotations

import io
import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_origin

from dotenv.parser import parse_stream

from registry_proxy.config.problems import ConfigError, Problem, dotted, suggest
from registry_proxy.config.settings import SECTIONS, UPSTREAM_VARIABLES, UpstreamSettings
from registry_proxy.config.types import check_repository_path
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

PREFIX = "REGISTRY_PROXY_"
# `server.listen` is ("server", "listen"), `upstreams.ghcr.url` is ("upstreams", "ghcr", "url"), and
# `upstreams.ghcr.paths.acme.username` is ("upstreams", "ghcr", "paths", "acme", "username").
Key = tuple[str, ...]

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, the place it stands at as people call it, and its file (None: the environment, or a default)."""

    value: object
    origin: str
    file: Path | None = None


Layer = dict[Key, Entry]


def read_text(path: Path, what: str) -> str:
    """A file's text; raises ConfigError when it can't be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            [
                Problem(
                    str(path), None, f"can't read {what}: {reason}", "Mend the file, its path or its owner."
                )
            ]
        ) from None


def file_layer(path: Path, problems: list[Problem], draft: str | None = None) -> Layer:
    """What the TOML file says, or `draft` in its place; raises ConfigError when it isn't TOML."""
    try:
        document = tomllib.loads(read_text(path, "the configuration file") if draft is None else draft)
    except tomllib.TOMLDecodeError as error:
        remedy = "Mend the line; https://toml.io shows the syntax."
        raise ConfigError([Problem(str(path), None, f"is not TOML: {error}", remedy)]) from None
    layer: Layer = {}
    for section, value in document.items():
        if section == "upstreams" and isinstance(value, dict):
            _add_upstreams(layer, value, path, problems)
        elif section in SECTIONS and isinstance(value, dict):
            _add(layer, (section,), value, path)
        else:
            problems.append(_misplaced(path, section, value))
    return layer


def _misplaced(path: Path, section: str, value: object) -> Problem:
    known = [*SECTIONS, "upstreams"]
    if section in known:
        return Problem(str(path), section, "is not a table", f"Write [{section}] and its keys below that.")
    sections = ", ".join(f"[{name}]" for name in known)
    what = "is not a known table" if isinstance(value, dict) else "is a key outside of any table"
    return Problem(str(path), section, what, suggest(section, known, f"The tables are {sections}."))


def _add_upstreams(layer: Layer, tables: dict[str, object], path: Path, problems: list[Problem]) -> None:
    for name, table in tables.items():
        key = ("upstreams", name)
        if not isinstance(table, dict):
            text, remedy = "is not a table", f"Write [upstreams.{name}] and its keys below that."
        elif not _NAME.fullmatch(name) or name in SECTIONS:
            text = "can't be the name of an upstream"
            remedy = f"Use lower-case letters, digits and single hyphens, and none of {', '.join(SECTIONS)}."
        else:
            # A table turns its upstream on, even an empty one.
            _add(layer, key, {"enabled": True, **table, "paths": {}}, path)
            _add_paths(layer, (*key, "paths"), table.get("paths", {}), path, problems)
            continue
        problems.append(Problem(str(path), dotted(key), text, remedy))


def _add_paths(layer: Layer, key: Key, tables: object, path: Path, problems: list[Problem]) -> None:
    write = f'Write [{dotted(key)}."acme/private"] and its keys below that.'
    if not isinstance(tables, dict):
        problems.append(Problem(str(path), dotted(key), "is not a table", write))
        return
    for name, table in tables.items():
        try:
            check_repository_path(name)
        except InvalidValueError as error:
            problems.append(Problem(str(path), dotted((*key, name)), error.text, error.remedy))
            continue
        if isinstance(table, dict) and table:
            _add(layer, (*key, name), table, path)
        else:
            text = "has no keys" if table == {} else "is not a table"
            problems.append(Problem(str(path), dotted((*key, name)), text, "Write its credentials there."))


def _add(layer: Layer, key: Key, table: dict[str, object], path: Path) -> None:
    for name, value in table.items():
        layer[(*key, name)] = Entry(value, str(path), path)


def dotenv_entries(path: Path, problems: list[Problem], draft: str | None = None) -> dict[str, Entry]:
    """The variables of a `.env` file by name, or of `draft` in its place.

    A `$` in a value stands for itself; empty values count as absent.
    """
    if draft is None and not path.is_file():
        return {}
    entries = {}
    text = read_text(path, "the environment file") if draft is None else draft
    for binding in parse_stream(io.StringIO(text)):
        origin = f"{path}, line {binding.original.line + binding.original.string[:1].count(chr(10))}"
        if binding.error:
            problems.append(Problem(origin, None, "is not NAME=VALUE", "Mend the line, or quote the value."))
        elif binding.key and binding.key.startswith(PREFIX) and binding.value:
            entries[binding.key] = Entry(binding.value, origin, path)
    return entries


def environment_entries(environ: Mapping[str, str]) -> dict[str, Entry]:
    """The variables of the environment by name; empty ones count as absent, for compose files set such."""
    return {
        name: Entry(value, f"environment variable {name}")
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }


def variable_name(key: Key) -> str:
    """The environment variable of a key: `REGISTRY_PROXY_SERVER_LISTEN`, `REGISTRY_PROXY_GHCR_URL`."""
    return PREFIX + "_".join(key[-2:]).upper().replace("-", "_")


def upstreams_added(variables: Iterable[str]) -> set[str]:
    """The upstreams that variables bring to life, by giving them a registry."""
    keys = (_variable_key(name) for name in variables)
    return {key[1] for key in keys if key and key[0] == "upstreams" and key[2] == "registry"}


def variables_layer(
    variables: Mapping[str, Entry], upstreams: Collection[str], problems: list[Problem]
) -> Layer:
    """The settings that variables make; `upstreams` are the names that they may set keys of."""
    layer: Layer = {}
    for name, entry in variables.items():
        key = _variable_key(name)
        if key is None or (key[0] == "upstreams" and key[1] not in upstreams):
            elsewhere = "docs/configuration.md lists the variables."
            remedy = suggest(name, _known_variables(upstreams), elsewhere, prefix=PREFIX)
            problems.append(Problem(entry.origin, None, f"{name} is not a known variable", remedy))
        else:
            layer[key] = replace(entry, value=_typed(key, str(entry.value)))
    return layer


def _variable_key(name: str) -> Key | None:
    """The longest key wins: `…_MY_PASSWORD_FILE` is the `password_file` of `my`."""
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            if name == variable_name((section, key)):
                return (section, key)
    for key in sorted(UPSTREAM_VARIABLES, key=len, reverse=True):
        upstream = name.removeprefix(PREFIX).removesuffix(f"_{key.upper()}").lower().replace("_", "-")
        if name == variable_name(("upstreams", upstream, key)) and _NAME.fullmatch(upstream):
            return None if upstream in SECTIONS else ("upstreams", upstream, key)
    return None


def _known_variables(upstreams: Iterable[str]) -> list[str]:
    sections = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]
    keys = [(name, key) for name in upstreams for key in UPSTREAM_VARIABLES]
    return [variable_name(key) for key in (*sections, *keys)]


def _typed(key: Key, text: str) -> object:
    """The value that `text` stands for in the key's type; a list is separated by commas."""
    model = UpstreamSettings if key[0] == "upstreams" else SECTIONS[key[0]]
    annotation = model.model_fields[key[-1]].annotation
    if get_origin(annotation) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if annotation is bool:
        return _TRUTH.get(text.lower(), text)
    return int(text) if annotation is int and text.isascii() and text.isdigit() else text
