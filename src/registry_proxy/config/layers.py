"""Sources of settings: the file, a `.env` in the same directory, the environment. Each entry records its place."""

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
    """A value, its place for messages, and its file (None: the environment, or a default)."""

    value: object
    origin: str
    file: Path | None = None


Layer = dict[Key, Entry]


def read_text(path: Path, what: str) -> str:
    """Return a file's text. Raise ConfigError if it can't be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the file is not UTF-8 text"
        text, remedy = f"can't read {what}: {reason}", "Fix the file's path, permissions or encoding."
        raise ConfigError([Problem(str(path), None, text, remedy)]) from None


class SourceReader:
    """Reader of the sources. `problems` are those of the sources read so far.

    A `draft` is read instead of the content of its file.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def file(self, path: Path, draft: str | None = None) -> Layer:
        """Return the settings of the TOML file. Raise ConfigError if it isn't TOML."""
        try:
            document = tomllib.loads(read_text(path, "the configuration file") if draft is None else draft)
        except tomllib.TOMLDecodeError as error:
            remedy = "Fix the line; https://toml.io shows the syntax."
            raise ConfigError([Problem(str(path), None, f"is not TOML: {error}", remedy)]) from None
        table_reader = _TableReader(path, self.problems)
        table_reader.read(document)
        return table_reader.layer

    def dotenv(self, path: Path, draft: str | None = None) -> dict[str, Entry]:
        """Return the variables of a `.env` file by name.

        A `$` in a value is not expanded. Empty values count as absent.
        """
        if draft is None and not path.is_file():
            return {}
        entries = {}
        text = read_text(path, "the environment file") if draft is None else draft
        for binding in parse_stream(io.StringIO(text)):
            origin = f"{path}, line {binding.original.line + binding.original.string[:1].count(chr(10))}"
            if binding.error:
                remedy = "Fix the line, or quote the value."
                self.problems.append(Problem(origin, None, "is not NAME=VALUE", remedy))
            elif binding.key and binding.key.startswith(PREFIX) and binding.value:
                entries[binding.key] = Entry(binding.value, origin, path)
        return entries

    def variables(self, variables: Mapping[str, Entry], upstreams: Collection[str]) -> Layer:
        """Return the settings that variables make. `upstreams` are the names whose keys they may set."""
        layer: Layer = {}
        for name, entry in variables.items():
            key = _variable_key(name)
            if key is None or (key[0] == "upstreams" and key[1] not in upstreams):
                elsewhere = "docs/configuration.md lists the variables."
                remedy = suggest(name, _known_variables(upstreams), elsewhere, prefix=PREFIX)
                self.problems.append(Problem(entry.origin, None, f"{name} is not a known variable", remedy))
            else:
                layer[key] = replace(entry, value=_typed(key, str(entry.value)))
        return layer


class _TableReader:
    """Reader of one TOML document, into `layer`."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self._path = path
        self._problems = problems
        self.layer: Layer = {}

    def read(self, document: dict[str, object]) -> None:
        for section, value in document.items():
            if section == "upstreams" and isinstance(value, dict):
                self._add_upstreams(value)
            elif section in SECTIONS and isinstance(value, dict):
                self._add((section,), value)
            else:
                self._report((section,), *_misplaced(section, value))

    def _add_upstreams(self, tables: dict[str, object]) -> None:
        for name, table in tables.items():
            key = ("upstreams", name)
            if not isinstance(table, dict):
                remedy = f"Write [upstreams.{name}] and its keys below that."
                self._report(key, "is not a table", remedy)
            elif not _NAME.fullmatch(name) or name in SECTIONS:
                reserved = ", ".join(SECTIONS)
                remedy = f"Use lower-case letters, digits and single hyphens, and none of {reserved}."
                self._report(key, "can't be the name of an upstream", remedy)
            else:
                # A table turns its upstream on, even an empty one.
                self._add(key, {"enabled": True, **table, "paths": {}})
                self._add_paths((*key, "paths"), table.get("paths", {}))

    def _add_paths(self, key: Key, tables: object) -> None:
        if not isinstance(tables, dict):
            remedy = f'Write [{dotted(key)}."acme/private"] and its keys below that.'
            self._report(key, "is not a table", remedy)
            return
        for name, table in tables.items():
            try:
                check_repository_path(name)
            except InvalidValueError as error:
                self._report((*key, name), error.text, error.remedy)
                continue
            if isinstance(table, dict) and table:
                self._add((*key, name), table)
            else:
                text = "has no keys" if table == {} else "is not a table"
                self._report((*key, name), text, "Write the credentials of this path there.")

    def _add(self, key: Key, table: dict[str, object]) -> None:
        for name, value in table.items():
            self.layer[(*key, name)] = Entry(value, str(self._path), self._path)

    def _report(self, key: Key, text: str, remedy: str) -> None:
        self._problems.append(Problem(str(self._path), dotted(key), text, remedy))


def _misplaced(section: str, value: object) -> tuple[str, str]:
    known = [*SECTIONS, "upstreams"]
    if section in known:
        return "is not a table", f"Write [{section}] and its keys below that."
    sections = ", ".join(f"[{name}]" for name in known)
    text = "is not a known table" if isinstance(value, dict) else "is a key outside of any table"
    return text, suggest(section, known, f"The tables are {sections}.")


def environment_entries(environ: Mapping[str, str]) -> dict[str, Entry]:
    """Return the environment's variables by name. Empty ones count as absent, since compose files set them."""
    return {
        name: Entry(value, f"environment variable {name}")
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }


def variable_name(key: Key) -> str:
    """Return the environment variable of a key: `REGISTRY_PROXY_SERVER_LISTEN`, `REGISTRY_PROXY_GHCR_URL`."""
    return PREFIX + "_".join(key[-2:]).upper().replace("-", "_")


def upstreams_added(variables: Iterable[str]) -> set[str]:
    """Return the upstreams that variables add by setting their `registry`."""
    keys = (_variable_key(name) for name in variables)
    return {key[1] for key in keys if key and key[0] == "upstreams" and key[2] == "registry"}


def _variable_key(name: str) -> Key | None:
    """Return the key of a variable. The longest key is used: `…_MY_PASSWORD_FILE` is the `password_file` of `my`."""
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
    """Return `text` converted to the key's type. Commas separate the items of a list."""
    model = UpstreamSettings if key[0] == "upstreams" else SECTIONS[key[0]]
    annotation = model.model_fields[key[-1]].annotation
    if get_origin(annotation) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if annotation is bool:
        return _TRUTH.get(text.lower(), text)
    return int(text) if annotation is int and text.isascii() and text.isdigit() else text
