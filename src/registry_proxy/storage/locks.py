"""Named locks between the processes of one machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from typing import TYPE_CHECKING

from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class FileLocks:
    """Byte-range locks on one file, one byte per name, so that no name leaves a file behind. Raise StoreError.

    They are "open file description" locks (fcntl(2), F_OFD_SETLK): the kernel releases them when the process ends.
    Two names share a byte with a probability of 2^-62, and would then only wait for each other. Within a process, the
    caller ensures one holder per name.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"can't open {path}: {error.strerror}") from error

    def try_acquire(self, name: str) -> bool:
        """Acquire the lock if it is free, and return whether this process holds it. Does not block."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _lock(name, fcntl.F_WRLCK))
        except BlockingIOError:
            return False
        return True

    def release(self, name: str) -> None:
        """Release the lock."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _lock(name, fcntl.F_UNLCK))

    def is_free(self, name: str) -> bool:
        """Return whether no other holder has the lock at this moment."""
        conflict = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _lock(name, fcntl.F_WRLCK))
        (kind,) = struct.unpack_from("h", conflict)
        return bool(kind == fcntl.F_UNLCK)

    def close(self) -> None:
        """Release all locks."""
        os.close(self._fd)


def _lock(name: str, kind: int) -> bytes:
    """Return the `struct flock` of 64-bit Linux: type, whence, start, length, pid (0 for OFD locks)."""
    offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, offset, 1, 0)
