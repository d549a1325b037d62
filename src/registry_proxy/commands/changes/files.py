"""Steps that write, build and remove files and directories."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_proxy.atomic_files import replace_file
from registry_proxy.commands.changes.plan import Change, ChangeError, Done
from registry_proxy.commands.changes.show import Mask, diff_text, unmasked
from registry_proxy.config.sharing import is_shared
from registry_proxy.identity import link_makers

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = 0o600
# Returns a user ID and a group ID, or None while there is no such user.
Owner = Callable[[], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a file. `mask` removes the secrets from the diff.

    Without an `owner`, the file belongs to the user who runs the command. With `keep_access`, an existing file keeps
    its owner, and its mode unless the new mode is private: then it keeps the access of its owner, and of a group that
    the owner shares it with. A symbolic link is followed and stays a link, unless root would follow another user.
    """

    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: Owner | None = None
    mask: Mask = unmasked
    keep_access: bool = False

    def changes(self) -> list[Change]:
        """Return the difference of the contents, or of mode and owner."""
        status = _file_status(self.path)
        before = read_file(self.path) if status else None
        if before != self.content:
            diff = diff_text(str(self.path), before, self.content, self.mask)
            return [Change("create" if before is None else "change", str(self.path), diff)]
        if status is None or self.keep_access or self._has_access(status):
            return []
        return [Change("change", f"{self.path}: mode {self.mode:04o} and owner")]

    def apply(self) -> Done:
        """Replace the file atomically."""
        path = real_path(self.path) if self.keep_access else self.path
        status = _file_status(path)
        before = read_file(path) if status else None
        created = create_parents(path)
        mode, owner = self._access(status)
        try:
            replace_file(path, self.content, mode=mode, owner=owner)
        except BaseException:
            remove_empty(created)
            raise

        def undo() -> None:
            if status is None or before is None:
                path.unlink()
                remove_empty(created)
            else:
                _restore_file(path, before, status)

        return Done(undo)

    def _access(self, status: os.stat_result | None) -> tuple[int, tuple[int, int] | None]:
        """Return the mode and the owner to set."""
        if self.keep_access and status is not None:
            return self._kept_mode(status), (status.st_uid, status.st_gid)
        return self.mode, ids_of(self.owner, self.path) if self.owner else None

    def _kept_mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        if self.mode & stat.S_IROTH:
            return mode
        return PRIVATE | (mode & stat.S_IRGRP if is_shared(status) else 0)

    def _has_access(self, status: os.stat_result) -> bool:
        mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
        return mode == self.mode and (self.owner is None or self.owner() == owner)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a file."""

    path: Path

    def changes(self) -> list[Change]:
        """Return the file, if it exists."""
        return [Change("remove", str(self.path))] if _file_status(self.path) else []

    def apply(self) -> Done:
        status, content = self.path.stat(), read_file(self.path)
        self.path.unlink()
        return Done(undo=lambda: _restore_file(self.path, content, status))


@dataclass(frozen=True, slots=True)
class BuildDirectory:
    """Fill a directory by `build`. Another `fingerprint` means another content."""

    path: Path
    fingerprint: str
    build: Callable[[Path], None]

    def changes(self) -> list[Change]:
        """Return the directory, if it is missing or has another fingerprint."""
        if not self.path.exists():
            return [Change("create", f"{self.path}/")]
        marker = self.path / ".fingerprint"
        same = marker.exists() and marker.read_text("utf-8") == self.fingerprint
        return [] if same else [Change("change", f"{self.path}/")]

    def apply(self) -> Done:
        """Build it next to the old one, then swap them."""
        created = create_parents(self.path)
        new, old = (self.path.with_name(f".{self.path.name}.{suffix}") for suffix in ("new", "old"))
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            new.mkdir(mode=0o755)
            self.build(new)
            (new / ".fingerprint").write_text(self.fingerprint, "utf-8")
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            remove_empty(created)
            raise
        replaced = self.path.exists()
        if replaced:
            self.path.rename(old)
        new.rename(self.path)

        def undo() -> None:
            shutil.rmtree(self.path)
            if replaced:
                old.rename(self.path)
            remove_empty(created)

        return Done(undo, commit=lambda: shutil.rmtree(old, ignore_errors=True))


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Remove a directory. `only`: remove entries that match these patterns, and keep the files of other programs.

    With `marks`, remove nothing unless one of these entries exists.
    """

    path: Path
    only: tuple[str, ...] | None = None
    marks: tuple[str, ...] = ()

    def changes(self) -> list[Change]:
        """Return the directory, or its entries."""
        found = self._entries() if self.only else [self.path] * self.path.is_dir()
        names = ", ".join(path.name for path in found) if self.only else "all content"
        return [Change("remove", f"{self.path}/: {names}")] if found else []

    def apply(self) -> Done:
        """Remove it on commit: removed content cannot be restored."""
        return Done(commit=self._remove)

    def _remove(self) -> None:
        for path in self._entries():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        try:
            self.path.rmdir()
        except OSError:
            # The directory is a mount point, or other files remain in it.
            if self.only is None and any(self.path.iterdir()):
                raise

    def _entries(self) -> list[Path]:
        if not self.path.is_dir() or (
            self.marks and not any((self.path / mark).exists() for mark in self.marks)
        ):
            return []
        found = self.path.iterdir()
        return sorted(path for path in found if self.only is None or any(map(path.match, self.only)))


def real_path(path: Path) -> Path:
    """Return a path without links. Raise ChangeError if root would follow a link that another user has made."""
    makers = link_makers(path) - {0, int(os.environ.get("SUDO_UID") or 0)} if os.geteuid() == 0 else set()
    if makers:
        raise ChangeError(
            f"a link of user {min(makers)} leads to {path}. Delete it, or name its target itself."
        )
    return path.resolve()


def read_file(path: Path) -> bytes:
    """Return the content of a file. Raise ChangeError if root would follow a link that another user has made."""
    descriptor = os.open(real_path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def ids_of(owner: Owner, path: Path) -> tuple[int, int]:
    """Return the IDs of an owner. Raise ChangeError if there is no such user."""
    ids = owner()
    if ids is None:
        raise ChangeError(f"the owner of {path} does not exist.")
    return ids


def _restore_file(path: Path, content: bytes, status: os.stat_result) -> None:
    """Write a file with its previous content, mode and owner."""
    replace_file(path, content, mode=stat.S_IMODE(status.st_mode), owner=(status.st_uid, status.st_gid))


def _file_status(path: Path) -> os.stat_result | None:
    """Return the status of a file or directory, None if it is missing."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def create_parents(path: Path) -> list[Path]:
    """Create the missing directories above `path` and return them, the innermost first."""
    missing = [directory for directory in path.parents if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o755)
    return missing


def remove_empty(directories: Iterable[Path]) -> None:
    """Remove the directories that exist. Raise OSError if one is not empty."""
    for directory in directories:
        if directory.exists():
            directory.rmdir()
