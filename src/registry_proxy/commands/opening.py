"""Opening a store that exists, beside the running server."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.index.reads import SqliteReader
from registry_proxy.storage.base import StoreError
from registry_proxy.storage.filesystem import FilesystemStore
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and what reads its index."""

    store: FilesystemStore
    index: SqliteReader
    locks: FileLocks


@contextmanager
def open_store(root: Path) -> Iterator[Opened]:
    """The store in `root` and its index, to be looked at. Raises StoreError or IndexFailedError."""
    require_store(root)
    with closing(FileLocks(root / "locks")) as locks, SqliteReader.open(root / "index.db") as index:
        yield Opened(FilesystemStore(root), index, locks)


def require_store(root: Path) -> None:
    """Raises StoreError where there is no store, or one of somebody else."""
    try:
        exists = (root / "index.db").is_file()
    except PermissionError:
        raise StoreError(f"{root} is somebody else's: run this as root, or as its owner") from None
    if not exists:
        raise StoreError(f"nothing is stored in {root} yet, or storage.path is wrong")
