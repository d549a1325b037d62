"""Edits of JSON text that keep the format of everything that stays as it is. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json import JSONDecoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")
_INDENT = re.compile(r"\n([ \t]+)\S")
_DEFAULT_INDENT = "  "
_DECODER = JSONDecoder()


def edit_json(text: str, document: dict[str, Any]) -> str:
    """Return `text`, which is an object in JSON, with the members of `document`.

    New members come last. Values that have not changed keep their text.
    """
    found = _INDENT.search(text)
    start = _skip(text, 0)
    before, end = _DECODER.raw_decode(text, start) if start < len(text) else ({}, start)
    if not before:
        return json.dumps(document, indent=_DEFAULT_INDENT, ensure_ascii=False) + "\n"
    edited = _Editor(text, found[1] if found else None).value(start, document, 0)
    return text[:start] + edited + text[end:]


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an object, and where its value stands in the text."""

    key: str
    value: Any
    start: int
    end: int


class _Editor:
    """Makes the text of new values from the text of old ones. Without an `indent`, all is in one line."""

    def __init__(self, text: str, indent: str | None) -> None:
        self._text = text
        self._indent = indent

    def value(self, at: int, wanted: Any, depth: int) -> str:
        """Return the text of `wanted`, which replaces the value at `at`."""
        value, end = _DECODER.raw_decode(self._text, at)
        if value == wanted:
            return self._text[at:end]
        if isinstance(value, dict) and isinstance(wanted, dict) and value.keys() <= wanted.keys() and value:
            return self._object(at, end, wanted, depth)
        if isinstance(value, list) and isinstance(wanted, list) and value and wanted[1:] == value:
            space = self._text[at + 1 : _skip(self._text, at + 1)]
            first = self._new(wanted[0], depth + 1)
            return f"[{space}{first},{space or ' '}{self._text[at + 1 + len(space) : end]}"
        return self._new(wanted, depth)

    def _object(self, at: int, end: int, wanted: dict[str, Any], depth: int) -> str:
        pieces, done, last = [], at, at
        known = set()
        for member in self._members(at):
            pieces += [
                self._text[done : member.start],
                self.value(member.start, wanted[member.key], depth + 1),
            ]
            done = last = member.end
            known.add(member.key)
        space = self._text[at + 1 : _skip(self._text, at + 1)]
        for key in (key for key in wanted if key not in known):
            pieces.append(f",{space or ' '}{json.dumps(key)}: {self._new(wanted[key], depth + 1)}")
        return "".join([*pieces, self._text[last:end]])

    def _members(self, at: int) -> Iterator[_Member]:
        text, at = self._text, _skip(self._text, at + 1)
        while text[at] != "}":
            key, at = _DECODER.raw_decode(text, _skip(text, at + 1) if text[at] == "," else at)
            start = _skip(text, _skip(text, at) + 1)
            value, end = _DECODER.raw_decode(text, start)
            yield _Member(key, value, start, end)
            at = _skip(text, end)

    def _new(self, value: Any, depth: int) -> str:
        made = json.dumps(value, indent=self._indent, ensure_ascii=False)
        return made.replace("\n", f"\n{self._indent * depth}") if self._indent else made


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
