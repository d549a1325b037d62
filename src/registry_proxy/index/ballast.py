"""Disk space that the index keeps for itself, and uses when the disk is full.

Freeing space requires a write: the index forgets content before its file is deleted. On a full disk that write would
fail without the ballast, and so would opening the index after a restart.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO

# Bytes that a checkpoint may write: a whole write-ahead log of the default size (1,000 pages).
_SIZE = 4 * 1024 * 1024


class Ballast:
    """The space that `file` occupies. The caller closes the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()

    def fill(self) -> None:
        """Occupy the space, as far as it is available."""
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, _SIZE)

    def release(self) -> None:
        """Free the space."""
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
