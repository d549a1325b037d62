"""Several files written together: all of them or none, and each whole whenever somebody reads it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from stat import S_IMODE
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = 0o600


class WriteError(Exception):
    """Nothing was written; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be written. An existing one keeps its mode, unless `mode` says that it is private."""

    path: Path
    text: str = field(repr=False)
    mode: int = 0o644


def write_all(files: list[NewFile]) -> None:
    """Write them. Raises WriteError; then all files are as they were."""
    staged: list[tuple[Path, Path]] = []
    try:
        for file in files:
            target = file.path.resolve()  # a link stays one
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.append((_stage(file, target), target))
        _swap(staged)
    except OSError as error:
        name = error.filename2 or error.filename or files[0].path
        raise WriteError(f"can't write {name}: {error.strerror}. Nothing was written.") from error
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def _stage(file: NewFile, target: Path) -> Path:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    present = target.stat() if target.exists() else None
    mode = file.mode if present is None or file.mode == PRIVATE else S_IMODE(present.st_mode)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(file.text)
            if present is not None and (present.st_uid, present.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), present.st_uid, present.st_gid)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _swap(staged: list[tuple[Path, Path]]) -> None:
    """Put all in place; if one can't be, those before it are put back."""
    done: list[tuple[Path, Path | None]] = []
    try:
        for temporary, target in staged:
            done.append((target, _backup(target)))
            temporary.replace(target)
    except OSError:
        for target, backup in reversed(done):
            _put_back(target, backup)
        raise
    for target, backup in done:
        if backup is not None:
            backup.unlink()
        _sync(target.parent)


def _backup(target: Path) -> Path | None:
    if not target.exists():
        return None
    backup = target.with_name(f".{target.name}.{os.getpid()}.old")
    backup.hardlink_to(target)
    return backup


def _put_back(target: Path, backup: Path | None) -> None:
    with suppress(OSError):
        if backup is None:
            target.unlink(missing_ok=True)
        else:
            backup.replace(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
