"""Steps that create directories and give them to a user. Links of other users are never followed."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.files import create_parents, ids_of, real_path, remove_empty
from registry_proxy.commands.changes.plan import Change, ChangeError, Done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from registry_proxy.commands.changes.files import Owner

_MODE = 0o700
# What a file system has in its first directory.
_OF_DISK = {"lost+found"}


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Create a directory with this mode and owner."""

    path: Path
    mode: int
    owner: Owner

    def changes(self) -> list[Change]:
        """Return the directory, or its mode and owner."""
        status = _directory_status(self.path)
        if status is None:
            return [Change("create", f"{self.path}/")]
        if stat.S_IMODE(status.st_mode) == self.mode and self.owner() == (status.st_uid, status.st_gid):
            return []
        return [Change("change", f"{self.path}/: mode {self.mode:04o} and owner")]

    def apply(self) -> Done:
        """Create it, or set its mode and owner."""
        before = _directory_status(self.path)
        created = create_parents(self.path)
        self.path.mkdir(exist_ok=True)
        with _opened(self.path) as directory:
            _set_access(directory, ids_of(self.owner, self.path), self.mode)

        def undo() -> None:
            if before is None:
                remove_empty([self.path, *created])
                return
            with _opened(self.path) as directory:
                _set_access(directory, (before.st_uid, before.st_gid), stat.S_IMODE(before.st_mode))

        return Done(undo)


@dataclass(frozen=True, slots=True)
class GiveStore:
    """Create the directory of a store, or give an existing store to its user: the directory, and the store's entries.

    `entries` are patterns for the names of all that a store consists of, `marks` are entries that each store has.
    """

    path: Path
    owner: Owner
    entries: Sequence[str]
    marks: Sequence[str]

    def changes(self) -> list[Change]:
        """Return the directory, or what gets another mode or owner. Raise ChangeError if it has other content."""
        status = _directory_status(self.path)
        if status is None:
            return [Change("create", f"{self.path}/")]
        self._require_store()
        ids = self.owner()
        foreign = [path.name for path in self._own() if _is_own(path.lstat()) and _ids(path.lstat()) != ids]
        if stat.S_IMODE(status.st_mode) == _MODE and _ids(status) == ids and not foreign:
            return []
        names = f", and all of {', '.join(foreign)}" if foreign else ""
        return [Change("change", f"{self.path}/: mode {_MODE:04o} and owner{names}")]

    def apply(self) -> Done:
        """Create it, or set mode and owner."""
        if _directory_status(self.path) is None:
            return MakeDirectory(self.path, _MODE, self.owner).apply()
        self._require_store()
        previous: list[tuple[Path, tuple[int, int]]] = [(path, _ids(path.lstat())) for path in self._own()]
        done = MakeDirectory(self.path, _MODE, self.owner).apply()
        self._give([path for path, _ in previous], ids_of(self.owner, self.path))

        def undo() -> None:
            for path, ids in previous:
                self._give([path], ids)
            done.undo()

        return Done(undo)

    def _own(self) -> list[Path]:
        return sorted(path for path in self.path.iterdir() if any(map(path.match, self.entries)))

    def _require_store(self) -> None:
        """Raise ChangeError for a directory that is not empty and not a store, which can be incomplete."""
        names = {path.name for path in self.path.iterdir()} - _OF_DISK
        own, marks = {path.name for path in self._own()}, names.intersection(self.marks)
        if names and len(marks) < (1 if names <= own else len(self.marks)):
            raise ChangeError(
                f"{self.path} is not empty and not a store: it has {', '.join(sorted(names)[:5])}. "
                "Set storage.path to a new or an empty directory."
            )

    def _give(self, paths: Sequence[Path], ids: tuple[int, int]) -> None:
        with _opened(self.path) as directory:
            for path in paths:
                _chown(path.name, directory, ids)
                if stat.S_ISDIR(path.lstat().st_mode):
                    for _, _, names, place in os.fwalk(path.name, dir_fd=directory):
                        for name in (".", *names):
                            _chown(name, place, ids)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a directory, which is not a link unless root made it. Raise ChangeError or OSError."""
    descriptor = os.open(real_path(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _directory_status(path: Path) -> os.stat_result | None:
    """Return the status of a directory, None if there is nothing. Raise ChangeError for anything else."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ChangeError(f"{path} is a link to nothing. Delete it.") from None
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise ChangeError(f"{path} is not a directory. Move it away.")
    real_path(path)
    return status


def _set_access(directory: int, ids: tuple[int, int], mode: int) -> None:
    os.fchown(directory, *ids)
    os.fchmod(directory, mode)


def _chown(name: str, directory: int, ids: tuple[int, int]) -> None:
    """Give an entry to a user."""
    with contextlib.suppress(FileNotFoundError):
        entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            status = os.fstat(entry)
            if _is_own(status) and _ids(status) != ids:
                os.chown(f"/proc/self/fd/{entry}", *ids)
        finally:
            os.close(entry)


def _is_own(status: os.stat_result) -> bool:
    """Return whether this is a directory, or a file without another name elsewhere, possibly of another program."""
    return stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)


def _ids(status: os.stat_result) -> tuple[int, int]:
    return status.st_uid, status.st_gid
