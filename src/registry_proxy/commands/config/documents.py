"""registry-proxy.toml and `.env`, changed where they must be and nowhere else. Pure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import tomlkit
from dotenv.parser import parse_stream
from tomlkit.container import Container
from tomlkit.items import AbstractTable

from registry_proxy.commands.config.answers import SECRETS
from registry_proxy.config.layers import variable_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_proxy.config.layers import Key

MASK = "********"
_HEADER = """\
# Made by `registry-proxy config`. Run it again to change it, or edit it: docs/configuration.md lists all keys.
"""


def change_toml(
    text: str | None,
    changes: Mapping[Key, Any],
    *,
    tables: Iterable[Key] = (),
    without: Iterable[str] = (),
) -> str:
    """The file with these keys set, or deleted where the value is None.

    `tables` are made, empty ones if need be: a table turns its upstream on. Those `without` are deleted.
    """
    document = tomlkit.parse(_HEADER if text is None else text)
    for section in without:
        document.pop(section, None)
    for key, value in changes.items():
        if value is None:
            _delete(document, key)
        else:
            _table(document, key[:-1])[key[-1]] = value
    for key in tables:
        _table(document, key)
    return tomlkit.dumps(document)


def change_env(text: str | None, changes: Mapping[Key, str | None]) -> str:
    """The file with these variables set, or deleted where the value is None; all other lines stay."""
    wanted = {variable_name(key): value for key, value in changes.items()}
    lines = []
    for binding in parse_stream(io.StringIO(text or "")):
        if binding.key not in wanted:
            lines.append(binding.original.string)
        elif (value := wanted.pop(binding.key)) is not None:
            lines.append(_line(binding.key, value))
    kept = "".join(lines)
    added = "".join(_line(name, value) for name, value in wanted.items() if value is not None)
    return kept + ("\n" if kept and added and not kept.endswith("\n") else "") + added


def masked_toml(text: str) -> str:
    """The file without its secrets, to be shown."""
    document = tomlkit.parse(text)
    _mask(document)
    return tomlkit.dumps(document)


def masked_env(text: str) -> str:
    """The file without its secrets, to be shown."""
    return "".join(
        f"{binding.key}={MASK}\n"
        if binding.key and binding.key.endswith(tuple(f"_{name.upper()}" for name in SECRETS))
        else binding.original.string
        for binding in parse_stream(io.StringIO(text))
    )


def variables(text: str | None) -> set[str]:
    """The names that the `.env` file sets."""
    return {binding.key for binding in parse_stream(io.StringIO(text or "")) if binding.key}


def _table(document: tomlkit.TOMLDocument, names: Key) -> AbstractTable:
    table: Any = document
    for depth, name in enumerate(names, 1):
        if name not in table:
            table[name] = tomlkit.table(is_super_table=depth < len(names))
        table = table[name]
    return table  # type: ignore[no-any-return]  # what is no table was refused when the file was read


def _delete(document: tomlkit.TOMLDocument, key: Key) -> None:
    table: Any = document
    for name in key[:-1]:
        table = table.get(name, {})
    table.pop(key[-1], None)


def _mask(table: Container | AbstractTable) -> None:
    for name, value in table.items():
        if isinstance(value, (Container, AbstractTable)):
            _mask(value)
        elif name in SECRETS:
            table[name] = MASK


def _line(name: str, value: str) -> str:
    """A line that means the value as it is: only these two characters are special in single quotes."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"
