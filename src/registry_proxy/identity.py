"""The identity of root while it works in a directory of another user.

A symbolic link that the other user has planted then leads root only to what that user could change as well.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# capabilities(7): read all files and search all directories; act as the owner of any file.
_READ_SEARCH, _FOWNER = 2, 3
# capget(2): the version with two words per set. Each has the sets effective, permitted, inheritable.
_VERSION_3 = 0x20080522
# The kernel's limit (path_resolution(7)).
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Identity:
    """The IDs of a user and of a group."""

    uid: int
    gid: int


@contextmanager
def as_owner_of(directory: Path) -> Iterator[None]:
    """Write as the owner of a directory for the block, if this process is root. Raise PermissionError.

    Reading keeps root's rights: the program itself and the way to the directory may be closed to the owner. All
    threads take on the identity, so only one block may run at a time. An inner block changes nothing.
    """
    owner = owner_of(directory) if os.geteuid() == 0 else None
    if owner is None or owner.uid == 0:
        yield
        return
    capabilities = _Capabilities()  # before the change: afterwards its modules may be unreadable
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    try:
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        capabilities.add(_READ_SEARCH)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


@contextmanager
def with_rights_of_owners() -> Iterator[None]:
    """Let this thread act as the owner of any file for the block, within `as_owner_of`. Do nothing elsewhere."""
    if os.geteuid() == os.getuid():
        yield
        return
    capabilities = _Capabilities()
    capabilities.add(_FOWNER)
    try:
        yield
    finally:
        capabilities.remove(_FOWNER)


def owner_of(path: Path) -> Identity:
    """Return the owner of the end of a path, or of a symbolic link on the way that neither root nor that owner made.

    The end of a path that does not exist is the last directory that does. Raise OSError.
    """
    way = [*_way(path.absolute())]
    end = way[-1]
    links = (each for each in way if stat.S_ISLNK(each.st_mode))
    decisive = next((each for each in links if each.st_uid not in (0, end.st_uid)), end)
    return Identity(decisive.st_uid, decisive.st_gid)


def link_makers(path: Path) -> set[int]:
    """Return the owners of the symbolic links on the way to a path, its end included."""
    return {status.st_uid for status in _way(path.absolute()) if stat.S_ISLNK(status.st_mode)}


def _way(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of each directory and symbolic link that leads to an absolute path, as far as it exists."""
    place, waiting, links = Path("/"), list(reversed(path.parts[1:])), 0
    yield place.stat()
    while waiting:
        place /= waiting.pop()
        try:
            status = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MAX_LINKS:
                return
            target = place.parent / place.readlink()
            place, waiting = Path("/"), [*waiting, *reversed(target.parts[1:])]


class _Capabilities:
    """The effective capabilities of the current thread. A thread that it starts begins with the same ones."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - workers do not need it

        self._libc = ctypes.CDLL(None)
        self._header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
        # Words of the sets: effective, permitted, inheritable, and again for capabilities from 32 on.
        self._words = (ctypes.c_uint32 * 6)()

    def add(self, capability: int) -> None:
        """Make a capability effective, if this process may."""
        self._libc.capget(self._header, self._words)
        self._words[0] |= self._words[1] & 1 << capability
        self._libc.capset(self._header, self._words)

    def remove(self, capability: int) -> None:
        """Make a capability ineffective. Raise OSError."""
        self._libc.capget(self._header, self._words)
        self._words[0] &= ~(1 << capability)
        if self._libc.capset(self._header, self._words):
            raise OSError("can't give up a capability")
