"""Verification of all content, and of the index against the content, with or without a running server."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from registry_proxy.cache.evictor import EVICTION
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from hashlib import _Hash
    from io import FileIO

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.index.base import Index
    from registry_proxy.oci.reference import Digest
    from registry_proxy.storage.base import BlobStore

_READ_SIZE = 1024 * 1024
# A hop to a thread costs about 100 µs. Progress is reported between hops.
_READS_PER_HOP = 64
# Rows or files per hold of the eviction lock.
_BATCH = 1000

Item = TypeVar("Item")


class DefectKind(StrEnum):
    """Kinds of defects. Their values are an interface: `verify --json` prints them."""

    DAMAGED = "damaged"  # the bytes do not match the digest, or cannot be read
    UNREADABLE = "unreadable"  # the file cannot be opened, possibly for lack of rights: never deleted
    MISSING = "missing"  # in the index, but not in the store
    UNCOUNTED = "uncounted"  # in the store, but not in the index, or there with another size


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of the verification: `size` is in bytes."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Verification of another `size` bytes. `complete` marks the end of a file."""

    size: int
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect of stored or recorded content, with its reason, and whether it is repaired."""

    kind: DefectKind
    digest: Digest
    size: int
    reason: str
    repaired: bool = False


class Verifier:
    """One verification of a store and its index. `report` is called with each event."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: NamedLocks,
        clock: Callable[[], float],
        report: Callable[[Extent | Checked | Defect], None],
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._clock = clock
        self._report = report
        self._bad: set[Digest] = set()

    async def run(self, *, repair: bool, threads: int) -> None:
        """Hash all content in `threads` threads, then compare the index. With `repair`, fix defects.

        Damaged content is removed from the index, then from the store, and the next pull fetches it again. Raise
        StoreError if the store cannot be listed, IndexFailedError if the index fails.
        """
        before = self._rows()
        files = dict(await asyncio.to_thread(lambda: list(self._store.walk())))
        self._report(Extent(len(files), sum(files.values())))
        waiting = iter(files.items())
        await asyncio.gather(*(self._check_some(waiting, repair=repair) for _ in range(threads)))
        after = self._rows()
        uncounted = [item for item in files.items() if after.get(item[0]) != item[1]]
        await self._compare_rows([digest for digest in before if digest not in files], repair=repair)
        await self._compare_files([item for item in uncounted if item[0] not in self._bad], repair=repair)

    def _rows(self) -> dict[Digest, int]:
        return {content.digest: content.size for content in self._index.least_recently_used(sys.maxsize)}

    async def _check_some(self, waiting: Iterator[tuple[Digest, int]], *, repair: bool) -> None:
        for digest, size in waiting:
            defect = await self._check(digest, size)
            if defect is not None and defect.kind is DefectKind.DAMAGED and repair:
                defect = await self._remove(defect)
            if defect is not None:
                self._bad.add(digest)
                self._report(defect)

    async def _check(self, digest: Digest, size: int) -> Defect | None:
        try:
            blob = self._store.open(digest)
        except StoreError as error:
            return Defect(DefectKind.UNREADABLE, digest, size, str(error))
        if blob is None:
            self._report(Checked(size, complete=True))
            return None
        hasher = digest.hasher()
        try:
            while count := await asyncio.to_thread(_hash_piece, blob.file, hasher):
                self._report(Checked(count))
        except OSError as error:
            return Defect(DefectKind.DAMAGED, digest, size, f"the file cannot be read: {error.strerror}")
        finally:
            blob.close()
        self._report(Checked(0, complete=True))
        if hasher.hexdigest() == digest.hex:
            return None
        return Defect(DefectKind.DAMAGED, digest, size, f"the content has the hash {hasher.hexdigest()}")

    async def _remove(self, defect: Defect) -> Defect:
        async with self._locks.hold(EVICTION):
            await self._index.forget([defect.digest])
            try:
                await asyncio.to_thread(self._store.delete, defect.digest)
            except StoreError as error:
                return replace(defect, reason=f"{defect.reason}; {error}")
        return replace(defect, repaired=True)

    async def _compare_rows(self, suspects: Sequence[Digest], *, repair: bool) -> None:
        """Report suspects that still have a row and no file. Content may have changed during the hashing."""
        for batch in _batches(suspects):
            async with self._locks.hold(EVICTION):
                rows = [row for digest in batch if (row := self._index.content(digest))]
                missing = [row for row in rows if self._size(row.digest) is None]
                if repair and missing:
                    await self._index.forget([row.digest for row in missing])
            for row in missing:
                reason = "in the index, but not in the store"
                self._report(Defect(DefectKind.MISSING, row.digest, row.size, reason, repair))

    async def _compare_files(self, suspects: Sequence[tuple[Digest, int]], *, repair: bool) -> None:
        """Report suspects that still have a file and no row with its size."""
        for batch in _batches(suspects):
            async with self._locks.hold(EVICTION):
                uncounted = [item for item in batch if not self._is_counted(*item)]
                if repair and uncounted:
                    await self._index.adopt(uncounted, self._clock())
            for digest, size in uncounted:
                reason = "in the store, but not in the index, or there with another size"
                self._report(Defect(DefectKind.UNCOUNTED, digest, size, reason, repair))

    def _is_counted(self, digest: Digest, size: int) -> bool:
        row = self._index.content(digest)
        return (row is not None and row.size == size) or self._size(digest) != size

    def _size(self, digest: Digest) -> int | None:
        """Return the size of a file in bytes, None if there is no file, -1 if it cannot be opened."""
        try:
            blob = self._store.open(digest)
        except StoreError:
            return -1
        if blob is None:
            return None
        blob.close()
        return blob.size


def _hash_piece(file: FileIO, hasher: _Hash) -> int:
    """Hash the next piece of a file. Return its length in bytes, 0 at the end."""
    buffer = memoryview(bytearray(_READ_SIZE))
    total = 0
    for _ in range(_READS_PER_HOP):
        count = file.readinto(buffer) or 0
        hasher.update(buffer[:count])
        total += count
        if count < _READ_SIZE:
            break
    return total


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Split the items, so that no fill waits long for the lock."""
    for first in range(0, len(items), _BATCH):
        yield items[first : first + _BATCH]
