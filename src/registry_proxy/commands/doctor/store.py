"""The store: its disk, its owner, its index, and the workers that serve from it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from rich.filesize import decimal

from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.index.base import IndexFailedError
from registry_proxy.index.database import damage_of
from registry_proxy.index.reads import SqliteReader
from registry_proxy.maintenance.workers import count_workers
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from registry_proxy.config import Settings

_SCARCE_BYTES, _SCARCE_FILES = 1000**3, 10_000
# What root may have left behind, and the server's user could not write.
_OWNED = ("index.db", "index.db-wal", "index.db-shm", "index.db.lock", "locks", "blobs", "ingest")


def store_checks(settings: Settings) -> Iterator[Check]:
    """The disk and the index."""
    yield Check("disk", partial(check_disk, settings))
    yield Check("index", partial(check_index, settings))


def alive_workers(root: Path) -> int:
    """How many workers serve from the store; 0 also where that can't be told."""
    try:
        if not (root / "locks").is_file():
            return 0
        with closing(FileLocks(root / "locks")) as locks:
            return count_workers(locks)
    except Exception:  # noqa: BLE001  the check of the disk tells why
        return 0


async def check_disk(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the store can be written, and has room."""
    root, limit = settings.storage.path, settings.storage.max_size
    try:
        exists = root.is_dir()
        place = root if exists else next(each for each in root.parents if each.is_dir())
    except OSError as error:
        yield fail(
            "disk", f"can't look into {root}: {error.strerror}", "Run this as root, or as the server's user."
        )
        return
    yield await asyncio.to_thread(_writable, root, place)
    if exists:
        yield await asyncio.to_thread(_owned, root)
    for finding in _room(root, place, _used(root), limit):
        yield finding


def _writable(root: Path, place: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        text = f"user {os.geteuid()} can't write into {place}: {error.strerror}"
        remedy = "Give the folder to the server's user, mend the disk, or set another one: storage.path."
        return fail("disk", text, remedy)
    if root != place:
        return ok("disk", f"{root} does not exist yet and can be made")
    return ok("disk", f"{root} can be written")


def _owned(root: Path) -> Finding:
    owner = root.stat().st_uid
    foreign = [name for name in _OWNED if (root / name).exists() and (root / name).stat().st_uid != owner]
    if foreign:
        text = f"{', '.join(foreign)} in {root} belong to another user than the folder itself"
        return fail("disk", text, f"chown -R --reference={root} {root}/{foreign[0]} (and the others)")
    return ok("disk", f"all of it belongs to user {owner}")


def _room(root: Path, place: Path, used: int, limit: int) -> Iterator[Finding]:
    status = os.statvfs(place)
    free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if free < _SCARCE_BYTES:
        remedy = "Free some, or lower storage.max_size: the server then evicts what was used least recently."
        yield warn("disk", f"only {decimal(free)} are free", remedy)
    elif limit and limit > used + free:
        text = f"max_size is {decimal(limit)}, but there is room for {decimal(used + free)}"
        yield warn("disk", text, f"Lower storage.max_size, or move {root} to a larger disk.")
    else:
        yield ok("disk", f"{decimal(free)} of {decimal(size)} are free")
    # Some file systems have no fixed number of them.
    if status.f_files and status.f_favail < _SCARCE_FILES:
        text = f"only {status.f_favail} more files can be made (inodes)"
        yield warn("disk", text, "Delete small files, or make a file system with more inodes.")


def _used(root: Path) -> int:
    try:
        with SqliteReader.open(root / "index.db") as index:
            return index.used_bytes()
    except IndexFailedError:
        return 0


async def check_index(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the index is whole."""
    path = settings.storage.path / "index.db"
    try:
        if not path.is_file():
            yield ok("index", "none yet; the server makes it at its first start")
            return
        damage = await asyncio.to_thread(damage_of, path)
        if damage is not None:
            text = f"{path} is damaged: {damage}"
            yield fail("index", text, "Restart the server: it begins a new one, and nothing stored is lost.")
            return
        with SqliteReader.open(path) as index:
            used, limit = index.used_bytes(), settings.storage.max_size
    except (IndexFailedError, OSError) as error:
        yield fail("index", str(error), "Run this as root, or as the server's user.")
        return
    if limit and used > limit:
        text = f"{decimal(used)} are kept, more than max_size, {decimal(limit)}"
        yield warn("index", text, "Start the server: it evicts what is too much within an hour.")
    else:
        yield ok("index", f"whole; {decimal(used)} are kept")
