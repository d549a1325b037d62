"""Ingests as files: those that this process owns, and those of other processes that it follows.

The file mode marks the state: 0600 while bytes are missing or unverified, 0640 once they have their digest. Owner and
followers have the same inode open, so `fstat` shows mark, size and deletion, also after the rename.
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

from registry_proxy.atomic_files import sync_directory
from registry_proxy.storage.base import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.oci.reference import Digest

# Suffix of the empty file that replaces a truncated ingest.
NEW_SUFFIX = ".new"

_UNVERIFIED = stat.S_IRUSR | stat.S_IWUSR
_VERIFIED = _UNVERIFIED | stat.S_IRGRP
_DIRECTORY = stat.S_IRWXU
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MAX_BUFFERS = os.sysconf("SC_IOV_MAX")


def store_error(task: str, error: OSError) -> StoreError:
    """Return the StoreError for an OSError during `task`, which is a verb and a path."""
    kind = StoreFullError if error.errno in _FULL else StoreError
    return kind(f"can't {task}: {error.strerror or error}")


def lock_ingest(path: Path, *, create: bool) -> int | None:
    """Return a descriptor of the file that holds its lock, or None while another one does. Raise OSError."""
    while True:
        fd = _open_ingest(path, create=create)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock the owner may have renamed or deleted the file: then this lock guards nothing.
            if _is_same_file(path, fd):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def _open_ingest(path: Path, *, create: bool) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            if not create:
                raise
        # The owner of the last one may have renamed it, or another process may just have created the next one.
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, _UNVERIFIED)
            chown_like(path.parent, fd)
            return fd


def _is_same_file(path: Path, fd: int) -> bool:
    """Return whether the path still refers to the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths of a digest's bytes: during the ingest, and as content."""

    ingest: Path
    content: Path


class FileIngest:
    """An ingest that this process owns. `fd` holds its lock."""

    def __init__(self, digest: Digest, paths: Paths, fd: int) -> None:
        self.digest = digest
        self._paths = paths
        self._path = paths.ingest
        # The loop opens views while a thread commits. The descriptor must not be closed in between, since its number
        # could then refer to another file.
        self._guard = threading.Lock()
        self._open_fd: int | None = fd
        status = os.fstat(fd)
        self._size = status.st_size
        if status.st_mode & _VERIFIED != _UNVERIFIED:
            # The last owner died during its commit. Verify the bytes again: a power loss may have damaged them.
            os.fchmod(fd, _UNVERIFIED)

    @property
    def size(self) -> int:
        return self._size

    def view(self) -> FileIO:
        with self._guard:
            # A separate file description: one shared with `fd` would share the lock, and keep it after `close`.
            if self._open_fd is None and self._path != self._paths.content:
                raise StoreError(f"can't read {self._path}: its ingest has ended")
            try:
                return FileIO(self._path if self._open_fd is None else f"/proc/self/fd/{self._open_fd}")
            except OSError as error:
                raise store_error(f"read {self._path}", error) from error

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        try:
            for first in range(0, len(chunks), _MAX_BUFFERS):
                buffers = chunks[first : first + _MAX_BUFFERS]
                while buffers:
                    written = os.pwritev(self._fd, buffers, self._size)
                    self._size += written
                    buffers = _rest(buffers, written)
        except OSError as error:
            raise store_error(f"write {self._path}", error) from error

    def truncate(self) -> None:
        try:
            with self._guard:
                self._replace()
        except OSError as error:
            raise store_error(f"truncate {self._path}", error) from error

    def _replace(self) -> None:
        # A new inode, so that a follower of the old bytes cannot mistake the new ones for their continuation.
        path = self._path.with_name(self._path.name + NEW_SUFFIX)
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

    def commit(self) -> None:
        try:
            # Followers may serve the last byte from here on, before the sync.
            os.fchmod(self._fd, _VERIFIED)
            os.fdatasync(self._fd)
            self._rename()
        except OSError as error:
            # After a failed fsync the kernel marks the lost pages clean, so a second fsync would report success without
            # writing them.
            with contextlib.suppress(StoreError):
                self.discard()
            raise store_error(f"commit {self._path}", error) from error
        finally:
            self.close()

    def _rename(self) -> None:
        directory = self._paths.content.parent
        make_directory(directory)
        with self._guard:
            if not _is_same_file(self._path, self._fd):
                raise FileNotFoundError(errno.ENOENT, "another program deleted or replaced the file")
            self._path.rename(self._paths.content)
            self._path = self._paths.content
        sync_directory(directory)

    def discard(self) -> None:
        if self._open_fd is None:
            return
        try:
            if _is_same_file(self._path, self._open_fd):
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
            raise StoreError(f"can't use {self._path}: its ingest has ended")
        return self._open_fd


class FollowedIngestFile:
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
    """Return the buffers without their first `written` bytes."""
    for position, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[position + 1 :]]
        written -= len(buffer)
    return ()


def chown_like(directory: Path, created: Path | int) -> None:
    """Give a file that root creates to the directory's owner, so that the server can use it. Raise OSError."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(created, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(created, int))


def make_directory(path: Path) -> None:
    """Create a directory durably, unless it exists. Its parent must exist. Raise OSError."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(_DIRECTORY)
        chown_like(path.parent, path)
        sync_directory(path.parent)


def close_directory(path: Path) -> None:
    """Close a directory to all other users. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) != _DIRECTORY and status.st_uid == os.geteuid():
            os.fchmod(descriptor, _DIRECTORY)
    finally:
        os.close(descriptor)
