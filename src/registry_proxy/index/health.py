"""Failures of an open index that only another file ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.index.database import is_damage

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


class IndexHealth:
    """State of the file at `path`, which this process has open. Any thread may note an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._current()
        self._failure: str | None = None

    def note(self, error: sqlite3.Error) -> None:
        """Note an error of a read or a write."""
        if is_damage(error):
            self._failure = str(error)

    def failure(self) -> str | None:
        """Return why the file cannot be used any more, None if it can."""
        # SQLite does not notice that another process deletes or replaces a file with a write-ahead log.
        if self._failure is None and self._current() != self._identity:
            self._failure = "another program has deleted or replaced the file"
        return self._failure

    def _current(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError:
            return self._identity
        return status.st_dev, status.st_ino
