"""What `client --apply` has changed on a machine, kept there so that it can be undone."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from registry_proxy.commands.client.machine import Change, Found, Missing, State
from registry_proxy.commands.client.server import ClientError


class Saved(msgspec.Struct, frozen=True):
    """One file: what it was before (`mode` None: it wasn't there), and the SHA-256 of what we made of it.

    `folders` are those that were made for it, the outermost first.
    """

    path: str
    mode: int | None
    sha256: str
    folders: tuple[str, ...] = ()
    restart: str | None = None


class Record(msgspec.Struct, frozen=True):
    """All files of one kind of client that are changed, in the folder `place` with copies of what they were."""

    files: tuple[Saved, ...]

    def encode(self) -> bytes:
        """As a file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, path: str, content: bytes) -> Record:
        """From a file. Raises ClientError."""
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError as error:
            raise ClientError(
                f"{path} can't be read: {error}. Put the copies beside it back by hand."
            ) from None


def place_of(kind: str, home: str, *, user: bool) -> str:
    """The folder of the record and the copies."""
    state = f"{home}/.local/state" if user else "/var/lib"
    return f"{state}/registry-proxy-client/{kind}"


def record_path(place: str) -> str:
    """Where the record is."""
    return f"{place}/record.json"


def copy_path(place: str, path: str) -> str:
    """Where the copy of a file is, as it was before."""
    return str(PurePosixPath(place) / "before" / path.lstrip("/"))


def original(saved: Saved, current: State, copy: State) -> State:
    """What a file was before we changed it; what it is now, if another has changed it since."""
    if not isinstance(current, Found) or current.sha256 != saved.sha256:
        return current
    if saved.mode is None:
        return Missing(saved.folders[0].rpartition("/")[0] or "/" if saved.folders else _folder(saved.path))
    if not isinstance(copy, Found):
        raise ClientError(f"the copy of {saved.path} as it was before is gone; it can't be put back.")
    return Found(copy.content, saved.mode)


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def saved_of(change: Change, before: State, restart: str | None) -> Saved:
    """What to remember of a change; `before` is what the file was at first."""
    assert change.after is not None
    if isinstance(before, Found):
        return Saved(change.path, before.mode, change.after.sha256, (), restart)
    return Saved(change.path, None, change.after.sha256, tuple(before.folders(change.path)), restart)
