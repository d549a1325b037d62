"""The store in a folder of a local file system.

    blobs/sha256/ab/HEX     content: whatever stands here was verified, and synced before it got this name
    ingest/HEX              content on its way: its owner holds an exclusive flock on it

The kernel ends a flock with its process, so nothing needs cleaning after a crash: the next `begin` goes on where the
last one stopped.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.oci.digest import Digest, InvalidDigestError
from registry_proxy.storage.ingest import (
    FRESH,
    FileIngest,
    FollowedFile,
    Place,
    lock_ingest,
    make_folder,
    store_error,
    sync_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALGORITHMS = ("sha256", "sha512")
# Another file system, too many names, or somebody else's file (proc(5), protected_hardlinks).
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
    """A BlobStore below `root`, which several processes may share. Raises StoreError when it can't make its folders.

    The folders are the owner's alone: they hold content of private repositories.
    """

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        folder = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self._ingests, self._blobs, *(self._blobs / name for name in _ALGORITHMS)):
                make_folder(folder)
        except OSError as error:
            raise store_error(f"make the folder {folder}", error) from error

    def open(self, digest: Digest) -> OpenBlob | None:
        path = self._place(digest).content
        try:
            return OpenBlob(FileIO(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"read {path}", error) from error

    def begin(self, digest: Digest) -> FileIngest | None:
        place = self._place(digest)
        try:
            fd = lock_ingest(place.ingest, create=True)
            return None if fd is None else FileIngest(digest, place, fd)
        except OSError as error:
            raise store_error(f"write {place.ingest}", error) from error

    def follow(self, digest: Digest) -> FollowedFile | None:
        path = self._place(digest).ingest
        try:
            return FollowedFile(FileIO(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"read {path}", error) from error

    def link(self, digest: Digest, file: FileIO) -> bool:
        path = self._place(digest).content
        try:
            if not self._is_readable(os.fstat(file.fileno())):
                return False
            os.fsync(file.fileno())
            make_folder(path.parent)
            with suppress(FileExistsError):
                _link_open_file(file, path)
            sync_folder(path.parent)
        except OSError as error:
            if error.errno in _UNLINKABLE:
                return False
            raise store_error(f"write {path}", error) from error
        return True

    def _is_readable(self, status: os.stat_result) -> bool:
        """Whether the store's owner, as whom the server runs, can read the file."""
        owner = self._blobs.stat()
        if owner.st_uid in {0, status.st_uid}:
            return owner.st_uid == 0 or bool(status.st_mode & stat.S_IRUSR)
        return bool(status.st_mode & (stat.S_IRGRP if owner.st_gid == status.st_gid else stat.S_IROTH))

    def delete(self, digest: Digest) -> None:
        path = self._place(digest).content
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(f"delete {path}", error) from error

    def walk(self) -> Iterator[tuple[Digest, int]]:
        for algorithm in _ALGORITHMS:
            for folder in _entries(self._blobs / algorithm):
                for entry in _entries(Path(folder.path)):
                    digest = _digest(algorithm, entry.name)
                    # Content of another prefix could not be opened by its digest: it is foreign, like other names.
                    if digest and digest.hex.startswith(folder.name) and (size := _size(entry)) is not None:
                        yield digest, size

    def remove_abandoned_ingests(self, older_than: float) -> list[Digest]:
        removed = []
        for entry in _entries(self._ingests):
            encoded = entry.name.removesuffix(FRESH)
            digest = _digest("sha256" if len(encoded) == 64 else "sha512", encoded)
            if digest and _remove_abandoned(Path(entry.path), older_than):
                removed.append(digest)
        return removed

    def _place(self, digest: Digest) -> Place:
        return Place(
            ingest=self._ingests / digest.hex,
            content=self._blobs / f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}",
        )


def _link_open_file(file: FileIO, path: Path) -> None:
    """Give an open file, and no other that stands in its place by now, one more name. Raises OSError."""
    source = Path(f"/proc/self/fd/{file.fileno()}")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a folder's descriptor Python calls linkat(2), which follows the symbolic link to the open file.
        os.link(source, path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(f"list {folder}", error) from error


def _digest(algorithm: str, encoded: str) -> Digest | None:
    try:
        return Digest(algorithm, encoded)
    except InvalidDigestError:
        return None


def _size(entry: os.DirEntry[str]) -> int | None:
    """The size of a regular file; None for anything else, and for what was deleted meanwhile."""
    with suppress(FileNotFoundError):
        if entry.is_file(follow_symlinks=False):
            return entry.stat(follow_symlinks=False).st_size
    return None


def _remove_abandoned(path: Path, older_than: float) -> bool:
    try:
        if path.stat().st_mtime >= older_than:
            return False
        fd = lock_ingest(path, create=False)
        if fd is None:
            return False
        try:
            # The owner may have written and gone since the first look; no one can while the lock is held here.
            if os.fstat(fd).st_mtime >= older_than:
                return False
            path.unlink()
        finally:
            os.close(fd)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise store_error(f"delete {path}", error) from error
    return True
