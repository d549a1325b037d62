"""The store in a directory of a local file system.

    blobs/sha256/ab/HEX     content: verified, and synced before the file got this name
    ingest/HEX              content in progress: the owner holds an exclusive flock on the file

The kernel releases a flock when its process ends, so a crash requires no cleaning: the next `begin` continues where the
last one stopped.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.atomic_files import sync_directory
from registry_proxy.identity import with_rights_of_owners
from registry_proxy.oci.reference import Digest, InvalidDigestError
from registry_proxy.storage.ingest import (
    NEW_SUFFIX,
    FileIngest,
    FollowedIngestFile,
    Paths,
    close_directory,
    lock_ingest,
    make_directory,
    store_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALGORITHMS = ("sha256", "sha512")
# Another file system, too many links, or a file of another user (proc(5), protected_hardlinks).
_UNLINKABLE = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS})


class OpenBlob:
    """Committed content, open for reading."""

    __slots__ = ("file", "size")

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def close(self) -> None:
        self.file.close()


class FilesystemStore:
    """A BlobStore below `root`, which several processes may share. Raise StoreError if a directory can't be created.

    Only the owner can access the directories, since they contain private repositories.
    """

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        directory = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self._ingests, self._blobs, *(self._blobs / name for name in _ALGORITHMS)):
                make_directory(directory)
                close_directory(directory)
        except OSError as error:
            raise store_error(f"create the directory {directory}", error) from error

    def open(self, digest: Digest) -> OpenBlob | None:
        path = self._paths(digest).content
        try:
            return OpenBlob(FileIO(path, opener=_open_unfollowed))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"read {path}", error) from error

    def begin(self, digest: Digest) -> FileIngest | None:
        paths = self._paths(digest)
        try:
            fd = lock_ingest(paths.ingest, create=True)
            return None if fd is None else FileIngest(digest, paths, fd)
        except OSError as error:
            raise store_error(f"write {paths.ingest}", error) from error

    def follow(self, digest: Digest) -> FollowedIngestFile | None:
        path = self._paths(digest).ingest
        try:
            return FollowedIngestFile(FileIO(path, opener=_open_unfollowed))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"read {path}", error) from error

    def link(self, digest: Digest, file: FileIO) -> bool:
        path = self._paths(digest).content
        try:
            if not self._is_readable(os.fstat(file.fileno())):
                return False
            os.fsync(file.fileno())
            make_directory(path.parent)
            with suppress(FileExistsError):
                _link_open_file(file, path)
            sync_directory(path.parent)
        except OSError as error:
            if error.errno in _UNLINKABLE:
                return False
            raise store_error(f"write {path}", error) from error
        return True

    def _is_readable(self, status: os.stat_result) -> bool:
        """Return whether the server, which runs as the store's owner, can read the file."""
        owner = self._blobs.stat()
        if owner.st_uid in {0, status.st_uid}:
            return owner.st_uid == 0 or bool(status.st_mode & stat.S_IRUSR)
        return bool(status.st_mode & (stat.S_IRGRP if owner.st_gid == status.st_gid else stat.S_IROTH))

    def delete(self, digest: Digest) -> None:
        path = self._paths(digest).content
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(f"delete {path}", error) from error

    def walk(self) -> Iterator[tuple[Digest, int]]:
        for algorithm in _ALGORITHMS:
            for directory in _entries(self._blobs / algorithm):
                for entry in _entries(Path(directory.path)):
                    digest = _digest(algorithm, entry.name)
                    # A file below another prefix could not be opened by its digest, so it is foreign.
                    if (
                        digest
                        and digest.hex.startswith(directory.name)
                        and (size := _size(entry)) is not None
                    ):
                        yield digest, size

    def remove_abandoned_ingests(self, older_than: float, newer_than: float = math.inf) -> list[Digest]:
        removed = []
        for entry in _entries(self._ingests):
            encoded = entry.name.removesuffix(NEW_SUFFIX)
            digest = _digest("sha256" if len(encoded) == 64 else "sha512", encoded)
            if digest and _remove_abandoned(Path(entry.path), older_than, newer_than):
                removed.append(digest)
        return removed

    def _paths(self, digest: Digest) -> Paths:
        return Paths(
            ingest=self._ingests / digest.hex,
            content=self._blobs / f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}",
        )


def _open_unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _link_open_file(file: FileIO, path: Path) -> None:
    """Hard-link an open file, even if another file has replaced it at its old path. Raise OSError."""
    source = Path(f"/proc/self/fd/{file.fileno()}")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a directory descriptor Python calls linkat(2), which follows the symbolic link to the open file.
        with with_rights_of_owners():  # proc(5), protected_hardlinks
            os.link(source, path.name, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(f"list {directory}", error) from error


def _digest(algorithm: str, encoded: str) -> Digest | None:
    try:
        return Digest(algorithm, encoded)
    except InvalidDigestError:
        return None


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return the size of a regular file in bytes, or None for any other entry and for a deleted one."""
    with suppress(FileNotFoundError):
        if entry.is_file(follow_symlinks=False):
            return entry.stat(follow_symlinks=False).st_size
    return None


def _remove_abandoned(path: Path, older_than: float, newer_than: float) -> bool:
    try:
        if older_than <= path.lstat().st_mtime <= newer_than:
            return False
        fd = lock_ingest(path, create=False)
        if fd is None:
            return False
        try:
            # An owner may have written since the first check. With the lock held, none can.
            if older_than <= os.fstat(fd).st_mtime <= newer_than:
                return False
            path.unlink()
        finally:
            os.close(fd)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise store_error(f"delete {path}", error) from error
    return True
