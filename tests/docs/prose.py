"""Search of the text that people read: Markdown without code, and the strings and comments of Python files.

`python tests/docs/prose.py PATTERN PATH…` prints every line that matches, as `path:line:text`.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]*`|\{[^{}]*\}")
_WORDS = re.compile(r"\w \w")
# Since Python 3.12 the text of an f-string is a token of its own kind.
_TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def search(pattern: str, paths: Iterable[Path]) -> Iterator[tuple[Path, int, str]]:
    """Return each line of prose that matches, with its file and number. Inline code never matches."""
    compiled = re.compile(pattern)
    for path in _files(paths):
        for number, line in prose(path):
            if compiled.search(_CODE.sub("``", line)):
                yield path, number, line.strip()


def search_source(pattern: str, paths: Iterable[Path]) -> Iterator[tuple[Path, int, str]]:
    """Return each line of Python source that matches, with its file and number."""
    compiled = re.compile(pattern)
    for path in _files(paths):
        if path.suffix == ".py":
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if compiled.search(line):
                    yield path, number, line.strip()


@cache
def prose(path: Path) -> tuple[tuple[int, str], ...]:
    """Return the lines of prose in a file, with their numbers. Files of other kinds have none."""
    if path.suffix == ".py":
        return tuple(_prose_of_python(path.read_text()))
    if path.suffix in {".md", ".j2"}:
        return tuple(enumerate(without_code_blocks(path.read_text()).splitlines(), 1))
    return ()


def without_code_blocks(markdown: str) -> str:
    """Return the text with every code block emptied. Line numbers stay the same."""
    return _CODE_BLOCK.sub(lambda found: "\n" * found[0].count("\n"), markdown)


def _prose_of_python(source: str) -> Iterator[tuple[int, str]]:
    """Join the strings and the comment of a line, so that all versions of Python find the same lines."""
    lines: defaultdict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _TEXT and "SELECT" not in token.string:
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                lines[number].append(line)
    for number in sorted(lines):
        line = "``".join(lines[number])
        if _WORDS.search(line):
            yield number, line


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


if __name__ == "__main__":
    for path, number, line in search(sys.argv[1], map(Path, sys.argv[2:])):
        print(path, number, line, sep=":")
