"""The files of a store: their names, and the adapters that open them.

Commands that root runs write to the store as its owner. Root then follows no link that the server's user has planted,
and leaves no file that the server cannot use.

No other module names these files or constructs a store, its locks or its index.
"""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from registry_proxy.identity import as_owner_of
from registry_proxy.index import database
from registry_proxy.index.base import IndexCheck
from registry_proxy.index.sqlite import SqliteIndex, SqliteReader
from registry_proxy.maintenance.workers import count_workers
from registry_proxy.service.boot import BootMark
from registry_proxy.storage.base import StoreError
from registry_proxy.storage.distribution import DistributionDirectory
from registry_proxy.storage.filesystem import FilesystemStore
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from registry_proxy.aio.locks import ProcessLocks
    from registry_proxy.index.base import Index, IndexReads
    from registry_proxy.storage.base import Archive, BlobStore

_INDEX = "index.db"
_LOCKS = "locks"
_BOOT_MARK = "index.boot"
# The name of the lock that a process holds while it prepares the store for the workers.
_PREPARATION = "preparation"
_BLOBS = "blobs"
_INGEST = "ingest"
# Entries that each store has.
STORE_MARKS = (_BLOBS, _INGEST)
# All that the server creates in `storage.path`, as patterns: the index has companions (`index.db-wal`).
STORE_ENTRIES = (*STORE_MARKS, "index.*", _LOCKS, "tls")

IndexT = TypeVar("IndexT")


@dataclass(frozen=True, slots=True)
class Site(Generic[IndexT]):
    """An open store with its index and its locks between processes."""

    store: BlobStore
    index: IndexT
    locks: FileLocks


@contextmanager
def read_site(root: Path) -> Iterator[Site[IndexReads]]:
    """Open the store in `root` for reading, while other processes use it.

    Raise StoreError if there is no store or it belongs to another user, IndexFailedError if the index is unusable.
    """
    with _as_owner(root):
        _require(root, _INDEX)
        with closing(FileLocks(root / _LOCKS)) as locks, SqliteReader.open(root / _INDEX) as index:
            yield Site(FilesystemStore(root), index, locks)


@asynccontextmanager
async def borrow_site(root: Path, *, create: bool) -> AsyncIterator[Site[Index]]:
    """Open the store in `root` like `open_site`, for a command."""
    with _as_owner(root):
        async with open_site(root, create=create) as site:
            yield site


@asynccontextmanager
async def open_site(
    root: Path, *, create: bool, index_check: IndexCheck = IndexCheck.QUICK
) -> AsyncIterator[Site[Index]]:
    """Open the store in `root` for reading and writing. A lost index is created again, and is then `is_new`.

    `index_check` is the check of the index if no other process uses it.

    Raise StoreError if there is no store and `create` is false, or if the store is unusable; IndexFailedError if the
    index is.
    """
    if not create:
        _require(root, _BLOBS)
    store = FilesystemStore(root)
    with closing(FileLocks(root / _LOCKS)) as locks:
        index = SqliteIndex(root / _INDEX, index_check)
        try:
            yield Site(store, index, locks)
        finally:
            await index.close()


def has_index(root: Path) -> bool:
    """Return whether there is an index in `root`. Raise OSError if `root` is unreadable."""
    with _as_owner(root):
        return (root / _INDEX).is_file()


def damage_of_index(root: Path) -> str | None:
    """Return the damage of the index in `root`, None if it is intact. Reads all of it. Raise IndexFailedError."""
    with _as_owner(root):
        return database.damage_of(root / _INDEX)


def replaced_indexes(root: Path) -> list[Path]:
    """Return the damaged files that the server has replaced by a new index."""
    return database.replaced_files(root / _INDEX)


def boot_mark(root: Path) -> BootMark:
    """Return the mark of a service that runs on the store in `root`."""
    return BootMark(root / _BOOT_MARK)


def hold_preparation(locks: ProcessLocks) -> None:
    """Show other processes, until `locks` are closed, that this one prepares the store."""
    locks.try_acquire(_PREPARATION)


def is_preparing(root: Path) -> bool:
    """Return whether a server prepares the store in `root`, before its workers start. Raise OSError or StoreError."""
    if not (root / _LOCKS).is_file():
        return False
    with closing(FileLocks(root / _LOCKS)) as locks:
        return not locks.is_free(_PREPARATION)


def running_workers(root: Path) -> int:
    """Return the number of workers that serve from the store in `root`. Raise OSError or StoreError."""
    with _as_owner(root):
        if not (root / _LOCKS).is_file():
            return 0
        with closing(FileLocks(root / _LOCKS)) as locks:
            return count_workers(locks)


def open_distribution(path: Path) -> Archive:
    """Return the content of a registry:2 or registry:3 in its storage directory. Raise StoreError if it is none."""
    return DistributionDirectory(path)


@contextmanager
def _as_owner(root: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(as_owner_of(root))
        except PermissionError:
            raise StoreError(f"{root} belongs to another user; run this as that user") from None
        yield


def _require(root: Path, name: str) -> None:
    try:
        exists = (root / name).exists()
    except PermissionError:
        raise StoreError(f"{root} belongs to another user; run this as root or as its owner") from None
    if not exists:
        raise StoreError(f"no store in {root}; start the server once, or check storage.path")
