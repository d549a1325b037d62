"""Edits of JSON, TOML and YAML files that keep all other settings. Pure."""

from __future__ import annotations

import io
import json
from collections.abc import MutableMapping
from typing import Any

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from tomlkit.exceptions import TOMLKitError

from registry_proxy.commands.client.endpoints import ClientError

Table = MutableMapping[str, Any]


def parse_json(path: str, text: str | None) -> dict[str, Any]:
    """Return the object in the file, empty without a file. Raise ClientError if it is unusable."""
    try:
        document = json.loads(text) if text and text.strip() else {}
    except ValueError as error:
        raise _broken(path, "JSON", error) from None
    return dict(_checked(path, "JSON", document))


def dump_json(document: dict[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def parse_toml(path: str, text: str | None) -> tomlkit.TOMLDocument:
    """Return the document. Raise ClientError if it is unusable."""
    try:
        return tomlkit.parse(text or "")
    except TOMLKitError as error:
        raise _broken(path, "TOML", error) from None


def parse_yaml(path: str, text: str | None) -> Table:
    """Return the mapping in the file, with its comments. Raise ClientError if it is unusable."""
    try:
        document = _yaml().load(text or "")
    except YAMLError as error:
        raise _broken(path, "YAML", error) from None
    return _checked(path, "YAML", {} if document is None else document)


def dump_yaml(*documents: Table) -> str:
    """Return the text of a file with these documents."""
    stream = io.StringIO()
    _yaml().dump_all(documents, stream)
    return stream.getvalue()


def table(path: str, parent: Table, *names: str) -> Table:
    """Return the table at `names`, created if it is missing. Raise ClientError if there is another value."""
    for name in names:
        parent = _checked(path, name, parent.setdefault(name, {}))
    return parent


def first(wanted: str, others: object) -> list[str]:
    """Return a list that begins with `wanted`, followed by all other items."""
    kept = [str(item) for item in others] if isinstance(others, list) else []
    return [wanted, *(item for item in kept if item.rstrip("/") != wanted)]


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


def _broken(path: str, syntax: str, error: Exception) -> ClientError:
    reason = " ".join(str(error).split())
    return ClientError(
        f"{path} is not {syntax}: {reason}. Nothing was changed. Fix the file, then run the command again."
    )
