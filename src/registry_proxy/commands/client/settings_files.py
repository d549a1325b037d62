"""Edits of JSON, TOML and YAML files that keep all other settings, their format and their comments. Pure."""

from __future__ import annotations

import copy
import io
import itertools
import json
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from tomlkit.exceptions import ParseError, TOMLKitError

from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.json_edit import edit_json

Table = MutableMapping[str, Any]


def parse_json(path: str, text: str | None) -> dict[str, Any]:
    """Return the object in the file, empty without a file. Raise ClientError if it is unusable."""
    try:
        document = json.loads(text) if text and text.strip() else {}
    except json.JSONDecodeError as error:
        raise _broken(path, "JSON", error.lineno) from None
    return dict(_checked(path, "JSON", document))


@dataclass
class JsonFile:
    """An object in a JSON file. Its `text` contains the changes of `settings`, and otherwise the format of the file."""

    settings: dict[str, Any]
    text: str


@contextmanager
def edit_json_file(path: str, text: str | None) -> Iterator[JsonFile]:
    """Change the object in a file, which is empty without a file. Raise ClientError if the file is unusable."""
    file = JsonFile(parse_json(path, text), text or "")
    yield file
    file.text = edit_json(file.text, file.settings)


def parse_toml(path: str, text: str | None) -> tomlkit.TOMLDocument:
    """Return the document. Raise ClientError if it is unusable."""
    try:
        return tomlkit.parse(text or "")
    except TOMLKitError as error:
        raise _broken(path, "TOML", error.line if isinstance(error, ParseError) else None) from None


def parse_yaml(path: str, text: str | None) -> Table:
    """Return the mapping in the file, with its comments. Raise ClientError if it is unusable."""
    try:
        document = _yaml().load(text or "")
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        raise _broken(path, "YAML", mark.line + 1 if mark else None) from None
    return _checked(path, "YAML", {} if document is None else document)


def dump_yaml(*documents: Table, like: str | None = None) -> str:
    """Return the text of a file with these documents, with the format of the text `like`."""
    yaml, breaks = _yaml(), "\n"
    if like is not None and like.strip():
        yaml = min(map(_styled, itertools.product(*_STYLES)), key=lambda each: _distance(each, like))
        breaks = "\r\n" if "\r\n" in like else "\n"
    return _written(yaml, *documents).replace("\n", breaks)


def table(path: str, parent: Table, *names: str) -> Table:
    """Return the table at `names`, created if it is missing. Raise ClientError if there is another value."""
    for name in names:
        if parent.get(name) is None:
            parent[name] = {}
        parent = _checked(path, name, _unshared(parent, name))
    return parent


def put(entry: Table, settings: Mapping[str, object]) -> None:
    """Set these values. Those that are set already keep their text."""
    for name, value in settings.items():
        if entry.get(name) != value:
            entry[name] = value


def put_first(entry: Table, name: str, wanted: str) -> None:
    """Make `wanted` the first item of a list, which is created if it is missing. All other items stay."""
    items = _unshared(entry, name) if isinstance(entry.get(name), list) else None
    if not items:
        entry[name] = [wanted]
        return
    same = [index for index, item in enumerate(items) if str(item).rstrip("/") == wanted]
    if same == [0]:
        return
    for index in reversed(same):
        del items[index]
    items.insert(0, wanted)


def _unshared(parent: Table, name: str) -> Any:
    """Return a value that can be changed alone: YAML's anchors and merge keys share values between entries."""
    value = parent[name]
    if not isinstance(parent, CommentedMap) or not isinstance(value, CommentedBase):
        return value
    merged = name not in dict(parent.non_merged_items())
    if merged or value.yaml_anchor() is not None:
        value = copy.deepcopy(value)
        value.yaml_set_anchor(None)
        parent[name] = value
    return value


# The ways to write a file: the indentation of mappings, that of lists in them, and whether `---` begins the document.
_STYLES = ((2, 4, 3, 6, 8), (0, 2, 4), (False, True))


def _styled(style: tuple[int, int, bool]) -> YAML:
    yaml = _yaml()
    mapping, offset, yaml.explicit_start = style
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return yaml


def _distance(yaml: YAML, text: str) -> int:
    """Return the number of lines that differ if the document is written without a change."""
    lines = text.splitlines()
    written = _written(yaml, yaml.load(text)).splitlines()
    return abs(len(lines) - len(written)) + sum(a != b for a, b in zip(lines, written, strict=False))


def _written(yaml: YAML, *documents: Table) -> str:
    stream = io.StringIO()
    yaml.dump_all(documents, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _checked(path: str, what: str, value: object) -> Table:
    if not isinstance(value, MutableMapping):
        raise ClientError(
            f"{path}: {what} is not a table of settings. Nothing was changed. "
            "Fix the file, then run the command again."
        )
    return value


def _broken(path: str, syntax: str, line: int | None) -> ClientError:
    # The parsers' messages quote the file, which can contain secrets.
    place = f", in line {line}" if line is not None else ""
    return ClientError(
        f"{path} is not {syntax}{place}. Nothing was changed. Fix the file, then run the command again."
    )
