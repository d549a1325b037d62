"""Ingests as files: the one that this process owns, and those of other processes, followed.

An ingest's mode is its mark: 0600 while bytes may still come or prove wrong, 0640 once they have their digest. Owner
and followers have the same inode open, so mark, size and deletion show in an `fstat`, also after the rename.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

from registry_proxy.storage.base import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.oci.digest import Digest

# What begins an ingest anew is built beside it under this suffix, and then takes its name.
FRESH = ".new"

_UNVERIFIED = stat.S_IRUSR | stat.S_IWUSR
_VERIFIED = _UNVERIFIED | stat.S_IRGRP
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BUFFERS_A_CALL = os.sysconf("SC_IOV_MAX")


def store_error(task: str, error: OSError) -> StoreError:
    """The StoreError for what the operating system said while doing `task` (a verb and a path)."""
    kind = StoreFullError if error.errno in _FULL else StoreError
    return kind(f"can't {task}: {error.strerror or error}")


def lock_ingest(path: Path, *, create: bool) -> int | None:
    """A descriptor of the file with its lock held; None while someone else holds it. Raises OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        fd = os.open(path, flags, _UNVERIFIED)
        try:
            if create:
                own_like(path.parent, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock the owner may have renamed or deleted it: then this lock guards nothing.
            if _names(path, fd):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def _names(path: Path, fd: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a digest's bytes stand while they come, and once they are content."""

    ingest: Path
    content: Path


class FileIngest:
    """An ingest whose lock `fd` holds."""

    def __init__(self, digest: Digest, place: Place, fd: int) -> None:
        self.digest = digest
        self._place = place
        self._path = place.ingest
        # Views are opened in the loop while a thread commits: the descriptor must not be closed, and its number not be
        # given to another file, in between.
        self._guard = threading.Lock()
        self._open_fd: int | None = fd
        status = os.fstat(fd)
        self._size = status.st_size
        if status.st_mode & _VERIFIED != _UNVERIFIED:
            # Its last owner died before the commit. A power loss may have taken bytes since: they are verified again.
            os.fchmod(fd, _UNVERIFIED)

    @property
    def size(self) -> int:
        return self._size

    def view(self) -> FileIO:
        with self._guard:
            # A description of its own: one shared with `fd` would share the lock, and keep it after `close`.
            if self._open_fd is None and self._path != self._place.content:
                raise StoreError(f"can't read {self._path}: its ingest has ended")
            try:
                return FileIO(self._path if self._open_fd is None else f"/proc/self/fd/{self._open_fd}")
            except OSError as error:
                raise store_error(f"read {self._path}", error) from error

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        try:
            for first in range(0, len(chunks), _BUFFERS_A_CALL):
                self._write(chunks[first : first + _BUFFERS_A_CALL])
        except OSError as error:
            raise store_error(f"write {self._path}", error) from error

    def _write(self, buffers: Sequence[bytes | memoryview]) -> None:
        while buffers:
            written = os.pwritev(self._fd, buffers, self._size)
            self._size += written
            buffers = _rest(buffers, written)

    def truncate(self) -> None:
        try:
            with self._guard:
                self._begin_anew()
        except OSError as error:
            raise store_error(f"begin {self._path} anew", error) from error

    def _begin_anew(self) -> None:
        # In another inode, so that nobody who has read the old bytes can take the new ones for their continuation.
        path = self._path.with_name(self._path.name + FRESH)
        old, fresh = self._fd, lock_ingest(path, create=True)
        if fresh is None:
            raise BlockingIOError(errno.EAGAIN, "another process holds its replacement")
        try:
            os.ftruncate(fresh, 0)
            path.rename(self._path)
        except OSError:
            os.close(fresh)
            raise
        self._open_fd, self._size = fresh, 0
        try:
            os.ftruncate(old, 0)
        finally:
            os.close(old)

    def mark_verified(self) -> None:
        try:
            os.fchmod(self._fd, _VERIFIED)
        except OSError as error:
            raise store_error(f"mark {self._path} as verified", error) from error

    def commit(self) -> None:
        try:
            os.fchmod(self._fd, _VERIFIED)
            os.fdatasync(self._fd)
            self._rename()
        except OSError as error:
            # After a failed sync the kernel calls the lost pages clean: a next attempt would take them for stored.
            with contextlib.suppress(StoreError):
                self.discard()
            raise store_error(f"commit {self._path}", error) from error
        finally:
            self.close()

    def _rename(self) -> None:
        folder = self._place.content.parent
        make_folder(folder)
        with self._guard:
            if not _names(self._path, self._fd):
                raise FileNotFoundError(errno.ENOENT, "another program deleted or replaced it")
            self._path.rename(self._place.content)
            self._path = self._place.content
        sync_folder(folder)

    def discard(self) -> None:
        if self._open_fd is None:
            return
        try:
            if _names(self._path, self._open_fd):
                self._path.unlink()
        except OSError as error:
            raise store_error(f"delete {self._path}", error) from error
        finally:
            self.close()

    def close(self) -> None:
        with self._guard:
            if self._open_fd is not None:
                os.close(self._open_fd)
                self._open_fd = None

    @property
    def _fd(self) -> int:
        if self._open_fd is None:
            raise StoreError(f"can't go on with {self._path}: its ingest has ended")
        return self._open_fd


class FollowedFile:
    """An ingest that another process owns, open for reading."""

    def __init__(self, file: FileIO) -> None:
        self.file = file

    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def verified(self) -> bool:
        return os.fstat(self.file.fileno()).st_mode & _VERIFIED == _VERIFIED

    def discarded(self) -> bool:
        status = os.fstat(self.file.fileno())
        return status.st_nlink == 0 and status.st_mode & _VERIFIED != _VERIFIED

    def close(self) -> None:
        self.file.close()


def _rest(buffers: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """What is left of the buffers once the first `written` bytes are gone."""
    for position, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[position + 1 :]]
        written -= len(buffer)
    return ()


def own_like(folder: Path, made: Path | int) -> None:
    """What root makes in somebody's store belongs to that one, or the server could not use it. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def make_folder(path: Path) -> None:
    """Make a folder in one that exists, durably, unless it is there. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
        own_like(path.parent, path)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in the folder durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
