"""Edits of `.env` files that this program and Docker Compose read in the same way. Pure.

Compose has other rules for quotes: its version 2 reads a `$` as the beginning of a variable, except in single quotes.
Backslashes and quotes in single quotes are the only remaining difference.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

from registry_proxy.commands.changes.plan import ChangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dotenv.parser import Binding

_ASSIGNED = re.compile(r"=[^\n]*")
_OURS = ("REGISTRY_PROXY_", "COMPOSE_")
# Values that every reader understands without quotes.
_PLAIN = re.compile(r"[\w./:@,%+=\[\]-]*", re.ASCII)


def edit(text: str | None, changes: Mapping[str, str | None]) -> str:
    """Return the file with these variables set, or removed if the value is None. All other lines stay."""
    pending = dict(changes)
    lines = []
    for binding in _bindings(text):
        if binding.key is None or binding.key not in changes:
            lines.append(binding.original.string)
        elif (value := pending.pop(binding.key, None)) is not None:
            lines.append(_leading_lines(binding) + assignment(binding.key, value))
    kept = "".join(lines)
    added = "".join(assignment(name, value) for name, value in pending.items() if value is not None)
    return kept + ("\n" if kept and added and not kept.endswith("\n") else "") + added


def make_portable(text: str) -> str:
    """Return the file with quotes where Compose would read a value differently.

    Raise ChangeError for a value that cannot be written in a portable way.
    """
    return "".join(
        binding.original.string if _is_portable(binding) else _portable_line(binding)
        for binding in _bindings(text)
    )


def portable_assignment(name: str, value: str) -> str:
    """Return the line that sets a variable. Raise ChangeError if Compose would read another value."""
    if "'" in value or "\\" in value or "\n" in value:
        raise ChangeError(
            f"the value of {name} contains a quote, a backslash or a line break, which Docker Compose and this program "
            "read differently. Write the value to a file, and set the variable that ends with _FILE to its path."
        )
    return assignment(name, value)


def assignment(name: str, value: str) -> str:
    """Return the line that sets a variable to exactly this value."""
    if _PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'\n"


def masked(text: str, suffixes: Iterable[str], mask: str) -> str:
    """Return the file with the values masked of variables whose names end with one of these suffixes.

    The values of other programs' variables are masked as well, and assignments in comments.
    """
    endings = tuple(suffixes)
    return "".join(_masked(binding, endings, mask) for binding in _bindings(text))


def _masked(binding: Binding, endings: tuple[str, ...], mask: str) -> str:
    if binding.key is None:
        return _ASSIGNED.sub(f"={mask}", binding.original.string)
    if binding.key.startswith(_OURS) and not binding.key.endswith(endings):
        return _leading_lines(binding) + assignment(binding.key, binding.value or "")
    return f"{_leading_lines(binding)}{binding.key}={mask}\n"


def variables(text: str | None) -> set[str]:
    """Return the names of the variables that the file sets."""
    return {binding.key for binding in _bindings(text) if binding.key}


def _bindings(text: str | None) -> Iterable[Binding]:
    return parse_stream(io.StringIO(text or ""))


def _is_portable(binding: Binding) -> bool:
    value = binding.value or ""
    return binding.key is None or bool(_PLAIN.fullmatch(value)) or f"'{value}'" in binding.original.string


def _portable_line(binding: Binding) -> str:
    assert binding.key is not None
    return _leading_lines(binding) + portable_assignment(binding.key, binding.value or "")


def _leading_lines(binding: Binding) -> str:
    """Return the empty lines that the parser counts as part of the variable."""
    original = binding.original.string
    return original[: len(original) - len(original.lstrip("\n"))]
