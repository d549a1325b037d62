"""Space on the disk that the index gives up to itself when there is none left.

On a full disk the way out leads through the index: content leaves it before its file is deleted. Without space even
that could not be written, nor could the index be opened after a restart.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO

# What a checkpoint may have to write: all of a write-ahead log of the usual size (1,000 pages).
_SIZE = 4 * 1024 * 1024


class Ballast:
    """The space that `file` takes up; the file's owner closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()

    def fill(self) -> None:
        """Take the space, if there is any."""
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, _SIZE)

    def release(self) -> None:
        """Give the space up."""
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
