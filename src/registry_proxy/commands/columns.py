"""Long lists as text in columns. Rich measures and wraps every cell, which takes seconds for thousands of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Titles with this mark have their column aligned to the right.
RIGHT = ">"


def in_columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the titles, a rule, and the rows."""
    names = [title.removeprefix(RIGHT) for title in titles]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    form = " ".join(
        f"{{:{RIGHT if title.startswith(RIGHT) else '<'}{width}}}"
        for title, width in zip(titles, widths, strict=True)
    )
    yield form.format(*names).rstrip()
    yield "─" * (sum(widths) + len(widths) - 1)
    for row in rows:
        yield form.format(*row).rstrip()
