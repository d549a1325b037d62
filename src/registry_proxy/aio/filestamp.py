"""Detection of changed files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Identity of one version of a file. It changes when the file is written or replaced, or its link is changed.

    `modified_at` is the modification time in nanoseconds since the epoch, `size` is in bytes.
    """

    inode: int
    modified_at: int
    size: int

    @classmethod
    def read(cls, path: Path) -> FileStamp | None:
        """Return the stamp of the file at `path`, or None if it does not exist or is not accessible."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)
