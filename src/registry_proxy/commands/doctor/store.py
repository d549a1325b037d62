"""Checks of the store: its disk, the owner of its files, and its index."""

from __future__ import annotations

import asyncio
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.findings import Check, Finding, fail, not_permitted, ok, warn
from registry_proxy.commands.formatting import size_text
from registry_proxy.identity import as_owner_of
from registry_proxy.index.base import IndexFailedError
from registry_proxy.service.site import (
    STORE_ENTRIES,
    damage_of_index,
    has_index,
    read_site,
    replaced_indexes,
    running_workers,
)
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from registry_proxy.config import Settings

_FEW_BYTES, _FEW_FILES = 1000**3, 10_000


def store_checks(settings: Settings) -> Iterator[Check]:
    """Yield the checks of the disk and the index. Root carries them out as the store's owner."""
    yield Check("disk", partial(check_disk, settings), alone=True)
    yield Check("index", partial(check_index, settings), alone=True)


def count_running(root: Path) -> int | None:
    """Return the number of workers that serve from the store, None if this user can't read the store."""
    try:
        return None if is_foreign(root) else running_workers(root)
    except PermissionError:
        return None
    except (OSError, StoreError):
        return 0  # the check of the disk reports the reason


def is_foreign(root: Path) -> bool:
    """Return whether the store belongs to another user, and this one is not root. Raise PermissionError."""
    return root.is_dir() and os.geteuid() not in {0, root.stat().st_uid}


async def check_disk(settings: Settings) -> AsyncIterator[Finding]:
    """Check that the store can be written, belongs to one user and has room."""
    root, limit = settings.storage.path, settings.storage.max_size
    if is_foreign(root):
        yield not_permitted("disk", root)
        return
    exists = root.is_dir()
    directory = root if exists else next(each for each in root.parents if each.is_dir())
    yield await asyncio.to_thread(_writable, root, directory)
    if exists:
        yield await asyncio.to_thread(_owner, root)
    for finding in _room(root, directory, _used(root), limit):
        yield finding


def _writable(root: Path, directory: Path) -> Finding:
    try:
        with as_owner_of(directory), tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        text = f"user {os.geteuid()} can't write into {directory}: {error.strerror}"
        remedy = "Make the server's user the owner of the directory, fix the disk, or set another path: storage.path."
        return fail("disk", text, remedy)
    if root != directory:
        return ok("disk", f"{root} does not exist yet and can be created")
    return ok("disk", f"{root} is writable")


def _owner(root: Path) -> Finding:
    """Check for files that root has created: the server's user cannot write them."""
    owner = root.stat().st_uid
    entries = (path for pattern in STORE_ENTRIES for path in sorted(root.glob(pattern)))
    foreign = [path.name for path in entries if path.lstat().st_uid != owner]
    if foreign:
        text = f"{', '.join(foreign)} in {root} belong to another user than the directory"
        return fail("disk", text, f"chown -R --reference={root} {root}/{foreign[0]} (and the others)")
    return ok("disk", f"all files belong to user {owner}")


def _room(root: Path, directory: Path, used: int, limit: int) -> Iterator[Finding]:
    status = os.statvfs(directory)
    free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if free < _FEW_BYTES:
        remedy = (
            "Free space, or lower storage.max_size: the server then evicts the least recently used content."
        )
        yield warn("disk", f"only {size_text(free)} are free", remedy)
    elif limit and limit > used + free:
        text = f"max_size is {size_text(limit)}, but there is room for {size_text(used + free)}"
        yield warn("disk", text, f"Lower storage.max_size, or move {root} to a larger disk.")
    else:
        yield ok("disk", f"{size_text(free)} of {size_text(size)} are free")
    # Some file systems have no fixed number of inodes.
    if status.f_files and status.f_favail < _FEW_FILES:
        text = f"only {status.f_favail} more files can be created (inodes)"
        yield warn("disk", text, "Delete small files, or create a file system with more inodes.")


def _used(root: Path) -> int:
    try:
        with read_site(root) as site:
            return site.index.used_bytes()
    except (IndexFailedError, StoreError):
        return 0


async def check_index(settings: Settings) -> AsyncIterator[Finding]:
    """Check that the index is intact."""
    root, limit = settings.storage.path, settings.storage.max_size
    if is_foreign(root):
        yield not_permitted("index", root)
        return
    try:
        if not has_index(root):
            yield ok("index", "none yet; the server creates it on startup")
            return
        damage = await asyncio.to_thread(damage_of_index, root)
        if damage is not None:
            text = f"the index in {root} is damaged: {damage}"
            yield fail("index", text, "Restart the server: it starts a new index. No content is lost.")
            return
        for path in replaced_indexes(root):
            text = f"{path.name} in {root} is a damaged index, which the server has replaced"
            yield warn("index", text, "Check the disk, then delete the file. No content is lost.")
        with read_site(root) as site:
            used = site.index.used_bytes()
    except (IndexFailedError, StoreError) as error:
        yield fail("index", str(error), "Check the disk, and the owner of the files.")
        return
    if limit and used > limit:
        text = f"{size_text(used)} are stored, more than max_size, {size_text(limit)}"
        yield warn("index", text, "Start the server: it evicts the excess within an hour.")
    else:
        yield ok("index", f"intact; {size_text(used)} are stored")
