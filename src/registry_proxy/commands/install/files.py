"""Steps that make and remove files and folders."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry_proxy.commands.install.plan import Change, Done, InstallError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from registry_proxy.commands.install.accounts import Accounts


class Owner(Protocol):
    """Who a file belongs to."""

    def numbers(self) -> tuple[int, int]:
        """The numbers of user and group. Raises InstallError."""

    def owns(self, found: os.stat_result) -> bool:
        """Whether that is so already."""


@dataclass(frozen=True, slots=True)
class NumericOwner:
    """By numbers."""

    uid: int
    gid: int

    def numbers(self) -> tuple[int, int]:
        """Themselves."""
        return self.uid, self.gid

    def owns(self, found: os.stat_result) -> bool:
        """Whether that is so already."""
        return (found.st_uid, found.st_gid) == self.numbers()


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """By names, which there may not be before the installation; None is root."""

    accounts: Accounts
    user: str | None = None
    group: str | None = None

    def numbers(self) -> tuple[int, int]:
        """The numbers of user and group. Raises InstallError."""
        return (
            self.accounts.get(self.user).uid if self.user else 0,
            self.accounts.get(self.group).gid if self.group else 0,
        )

    def owns(self, found: os.stat_result) -> bool:
        """Whether that is so already; no, while there is no such user."""
        names = [name for name in (self.user, self.group) if name]
        if any(self.accounts.find(name) is None for name in names):
            return False
        return (found.st_uid, found.st_gid) == self.numbers()


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A step: a file with this content. Without an `owner` it belongs to who runs this. `secret`: no diff is shown."""

    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: Owner | None = None
    secret: bool = False

    def change(self) -> Change | None:
        """The difference of the contents, or of mode and owner."""
        found = _look(self.path)
        if found is None:
            return Change("create", str(self.path), self._diff(b"", "/dev/null"))
        content = self.path.read_bytes()
        if content != self.content:
            return Change("change", str(self.path), self._diff(content, str(self.path)))
        right = stat.S_IMODE(found.st_mode) == self.mode and (self.owner is None or self.owner.owns(found))
        return None if right else Change("change", f"{self.path}: mode {self.mode:04o}, and its owner")

    def apply(self) -> Done:
        """Write it beside the old one, and put it in its place."""
        found = _look(self.path)
        before = (self.path.read_bytes(), found) if found else None
        made = _make_parents(self.path)
        _put(self.path, self.content, self.mode, self.owner.numbers() if self.owner else None)

        def undo() -> None:
            if before is None:
                self.path.unlink()
                _remove_empty(made)
            else:
                content, old = before
                _put(self.path, content, stat.S_IMODE(old.st_mode), (old.st_uid, old.st_gid))

        return Done(undo)

    def _diff(self, before: bytes, name: str) -> str:
        if self.secret:
            return ""
        old, new = (text.decode(errors="replace").splitlines() for text in (before, self.content))
        return "\n".join(difflib.unified_diff(old, new, name, str(self.path), lineterm=""))


@dataclass(frozen=True, slots=True)
class MadeFolder:
    """A step: a folder with this mode and owner. `deep`: what is in it belongs to the owner, too."""

    path: Path
    mode: int
    owner: Owner
    deep: bool = False

    def change(self) -> Change | None:
        """The folder, or its owner."""
        found = _look(self.path)
        if found is None:
            return Change("create", f"{self.path}/")
        if not stat.S_ISDIR(found.st_mode):
            raise InstallError(f"{self.path} is no folder. Move it away.")
        right = stat.S_IMODE(found.st_mode) == self.mode and self.owner.owns(found)
        return None if right else Change("change", f"{self.path}/: mode {self.mode:04o}, and its owner")

    def apply(self) -> Done:
        """Make it, or hand it over."""
        before = _look(self.path)
        made = _make_parents(self.path)
        self.path.mkdir(exist_ok=True)
        self._hand_over(*self.owner.numbers(), self.mode)

        def undo() -> None:
            if before is None:
                _remove_empty([self.path, *made])
            else:
                self._hand_over(before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode))

        return Done(undo)

    def _hand_over(self, user: int, group: int, mode: int) -> None:
        for path in self.path.rglob("*") if self.deep else ():
            os.chown(path, user, group, follow_symlinks=False)
        os.chown(self.path, user, group)
        self.path.chmod(mode)


@dataclass(frozen=True, slots=True)
class BuiltTree:
    """A step: a folder that `build` makes; `fingerprint` tells one content from another."""

    path: Path
    fingerprint: str
    build: Callable[[Path], None]

    def change(self) -> Change | None:
        """The folder, where it was made from something else, or not at all."""
        if not self.path.exists():
            return Change("create", f"{self.path}/")
        marker = self.path / ".fingerprint"
        same = marker.exists() and marker.read_text("utf-8") == self.fingerprint
        return None if same else Change("change", f"{self.path}/")

    def apply(self) -> Done:
        """Build it beside the old one, and put it in its place."""
        made = _make_parents(self.path)
        new, old = (self.path.with_name(f".{self.path.name}.{what}") for what in ("new", "old"))
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        try:
            new.mkdir(mode=0o755)
            self.build(new)
            (new / ".fingerprint").write_text(self.fingerprint, "utf-8")
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            _remove_empty(made)
            raise
        replaced = self.path.exists()
        if replaced:
            self.path.rename(old)
        new.rename(self.path)

        def undo() -> None:
            shutil.rmtree(self.path)
            if replaced:
                old.rename(self.path)
            _remove_empty(made)

        return Done(undo, commit=lambda: shutil.rmtree(old, ignore_errors=True))


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """A step: no such file any more."""

    path: Path

    def change(self) -> Change | None:
        """The file, where there is one."""
        return Change("remove", str(self.path)) if _look(self.path) else None

    def apply(self) -> Done:
        """Remove it."""
        found, content = self.path.stat(), self.path.read_bytes()
        self.path.unlink()
        owner = (found.st_uid, found.st_gid)
        return Done(undo=lambda: _put(self.path, content, stat.S_IMODE(found.st_mode), owner))


@dataclass(frozen=True, slots=True)
class RemovedTree:
    """A step: no such folder any more. `only`: patterns of the names to remove, where others may have put theirs."""

    path: Path
    only: tuple[str, ...] | None = None

    def change(self) -> Change | None:
        """The folder, or the entries."""
        found = self._entries() if self.only else [self.path] * self.path.is_dir()
        names = ", ".join(path.name for path in found) if self.only else "all of it"
        return Change("remove", f"{self.path}/: {names}") if found else None

    def apply(self) -> Done:
        """Remove it at the end: what is gone can't be taken back."""
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
            if self.only is None and any(self.path.iterdir()):
                raise  # otherwise it is a mount point, or holds what others put there

    def _entries(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        found = self.path.iterdir()
        return sorted(path for path in found if self.only is None or any(map(path.match, self.only)))


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _put(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    """Write a file as a whole: beside the old one, synced, and renamed."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_parents(path: Path) -> list[Path]:
    """Make the folders above `path` that are missing; they are returned, the innermost first."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755)
    return missing


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.exists():
            folder.rmdir()
