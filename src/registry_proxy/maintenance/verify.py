"""Checking all content against its digests, and the index against the content, while the server runs or not."""

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
    from registry_proxy.oci.digest import Digest
    from registry_proxy.storage.base import BlobStore

_READ_SIZE = 1024 * 1024
# A hop to a thread costs about 100 µs; the progress is told between hops.
_READS_A_HOP = 64
_BATCH = 1000

Item = TypeVar("Item")


class Kind(StrEnum):
    """What can be wrong with content."""

    DAMAGED = "damaged"  # its bytes don't have its digest, or can't be read
    UNREADABLE = "unreadable"  # it can't be opened, which can be for lack of rights: it is not deleted
    MISSING = "missing"  # the index has it, the store has not
    UNCOUNTED = "uncounted"  # the store has it, the index has not, or with another size


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is to check: files and bytes."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Checked:
    """So many more bytes are checked; `complete` with the last ones of a file."""

    size: int
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong with a digest: `reason` says what, `repaired` whether it no longer is."""

    kind: Kind
    digest: Digest
    size: int
    reason: str
    repaired: bool = False


class Verifier:
    """One check of a store and its index; `report` is told of all as it happens."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: NamedLocks,
        clock: Callable[[], float],
        report: Callable[[Extent | Checked | Finding], None],
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._clock = clock
        self._report = report
        self._bad: set[Digest] = set()

    async def run(self, *, repair: bool, threads: int) -> None:
        """Hash everything in so many threads, then compare the index; with `repair`, mend what can be.

        Damaged content leaves the index, then the store, so that the next pull fetches it anew. Raises StoreError when
        the store can't be listed, IndexFailedError when the index fails.
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
            finding = await self._check(digest, size)
            if finding is not None and finding.kind is Kind.DAMAGED and repair:
                finding = await self._remove(finding)
            if finding is not None:
                self._bad.add(digest)
                self._report(finding)

    async def _check(self, digest: Digest, size: int) -> Finding | None:
        try:
            blob = self._store.open(digest)
        except StoreError as error:
            return Finding(Kind.UNREADABLE, digest, size, str(error))
        if blob is None:
            self._report(Checked(size, complete=True))
            return None
        hasher = digest.hasher()
        try:
            while count := await asyncio.to_thread(_hash_piece, blob.file, hasher):
                self._report(Checked(count))
        except OSError as error:
            return Finding(Kind.DAMAGED, digest, size, f"it can't be read: {error.strerror}")
        finally:
            blob.close()
        self._report(Checked(0, complete=True))
        if hasher.hexdigest() == digest.hex:
            return None
        return Finding(Kind.DAMAGED, digest, size, f"its bytes have the hash {hasher.hexdigest()}")

    async def _remove(self, finding: Finding) -> Finding:
        async with self._locks.hold(EVICTION):
            await self._index.forget([finding.digest])
            try:
                await asyncio.to_thread(self._store.delete, finding.digest)
            except StoreError as error:
                return replace(finding, reason=f"{finding.reason}; {error}")
        return replace(finding, repaired=True)

    async def _compare_rows(self, suspects: Sequence[Digest], *, repair: bool) -> None:
        """Those that still have a row and no file: what came or went during the hashing is no finding."""
        for batch in _batches(suspects):
            async with self._locks.hold(EVICTION):
                rows = [row for digest in batch if (row := self._index.content(digest))]
                missing = [row for row in rows if self._size(row.digest) is None]
                if repair and missing:
                    await self._index.forget([row.digest for row in missing])
            for row in missing:
                reason = "the index has it, the store has not"
                self._report(Finding(Kind.MISSING, row.digest, row.size, reason, repair))

    async def _compare_files(self, suspects: Sequence[tuple[Digest, int]], *, repair: bool) -> None:
        """Those that still have a file and no row with its size."""
        for batch in _batches(suspects):
            async with self._locks.hold(EVICTION):
                uncounted = [item for item in batch if not self._is_counted(*item)]
                if repair and uncounted:
                    await self._index.adopt(uncounted, self._clock())
            for digest, size in uncounted:
                reason = "the store has it, the index has not, or with another size"
                self._report(Finding(Kind.UNCOUNTED, digest, size, reason, repair))

    def _is_counted(self, digest: Digest, size: int) -> bool:
        row = self._index.content(digest)
        return (row is not None and row.size == size) or self._size(digest) != size

    def _size(self, digest: Digest) -> int | None:
        """The size of a file; None where there is none. What can't be opened is there."""
        try:
            blob = self._store.open(digest)
        except StoreError:
            return -1
        if blob is None:
            return None
        blob.close()
        return blob.size


def _hash_piece(file: FileIO, hasher: _Hash) -> int:
    """Hash the next piece of a file; its length in bytes, 0 at the end."""
    buffer = memoryview(bytearray(_READ_SIZE))
    total = 0
    for _ in range(_READS_A_HOP):
        count = file.readinto(buffer) or 0
        hasher.update(buffer[:count])
        total += count
        if count < _READ_SIZE:
            break
    return total


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Small enough that no fill waits long for the lock."""
    for first in range(0, len(items), _BATCH):
        yield items[first : first + _BATCH]
