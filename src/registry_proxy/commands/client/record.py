"""The record of `client --apply` on a machine, which `client --undo` reads."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.machine import FileChange, Found, Missing, State


class SavedFile(msgspec.Struct, frozen=True, rename={"directories": "folders"}):
    """One changed file: its mode before (None: it was missing), and the SHA-256 of its new content.

    `directories` were created for it, the outermost first.
    """

    path: str
    mode: int | None
    sha256: str
    directories: tuple[str, ...] = ()
    restart: str | None = None


class Record(msgspec.Struct, frozen=True):
    """The changed files of one kind of client. Its directory also contains copies of the previous files."""

    files: tuple[SavedFile, ...]

    def encode(self) -> bytes:
        """Return the content of the record file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, path: str, content: bytes) -> Record:
        """Parse a record file. Raise ClientError if it is damaged."""
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError as error:
            raise ClientError(
                f"can't read {path}: {error}. Restore the copies in the same directory by hand."
            ) from None


def record_directory(kind: str, home: str, *, user: bool) -> str:
    """Return the directory of the record and the copies."""
    state = f"{home}/.local/state" if user else "/var/lib"
    return f"{state}/registry-proxy-client/{kind}"


def record_path(directory: str) -> str:
    """Return the path of the record."""
    return f"{directory}/record.json"


def copy_path(directory: str, path: str) -> str:
    """Return the path of the copy of a file."""
    return str(PurePosixPath(directory) / "before" / path.lstrip("/"))


def original(saved: SavedFile, current: State, copy: State, *, force: bool = False) -> State:
    """Return the state of a file before it was changed; its current state if another program has changed it since.

    With `force`, changes by other programs do not matter.
    """
    if not force and (not isinstance(current, Found) or current.sha256 != saved.sha256):
        return current
    if saved.mode is None:
        outermost = saved.directories[0] if saved.directories else saved.path
        return Missing(outermost.rpartition("/")[0] or "/")
    if not isinstance(copy, Found):
        raise ClientError(f"can't restore {saved.path}: the copy of the previous file is missing.")
    return Found(copy.content, saved.mode)


def saved_file(change: FileChange, before: State, restart: str | None) -> SavedFile:
    """Return the record of a change; `before` is the state of the file before the first change."""
    assert change.after is not None
    if isinstance(before, Found):
        return SavedFile(change.path, before.mode, change.after.sha256, (), restart)
    directories = tuple(before.directories(change.path))
    return SavedFile(change.path, None, change.after.sha256, directories, restart)
