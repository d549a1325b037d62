"""Stored content and its record in the index. The file takes precedence over the row."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import HOUSEKEEPING
from registry_proxy.cache.results import FilePiece
from registry_proxy.index.base import IndexFailedError
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from registry_proxy.cache.access_times import AccessTimes
    from registry_proxy.index.base import Content, Index
    from registry_proxy.oci.reference import Digest
    from registry_proxy.storage.base import BlobStore, StoredBlob

log = logging.getLogger(__name__)


class StoredBody:
    """A stored blob. `report_damage` is called when its file cannot be read."""

    def __init__(self, stored: StoredBlob, report_damage: Callable[[], None]) -> None:
        self._stored = stored
        self.size = stored.size
        self.report_damage = report_damage

    async def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """Yield everything at once."""
        if stop > start:
            yield FilePiece(self._stored.file, start, stop - start)

    def close(self) -> None:
        """Close the file."""
        self._stored.close()


class ContentStore:
    """Content in the store: it opens files, removes damaged ones, and records accesses."""

    def __init__(
        self, store: BlobStore, index: Index, access_times: AccessTimes, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._index = index
        self._access_times = access_times
        self._clock = clock
        self._damaged: set[Digest] = set()

    def known(self, digest: Digest) -> Content | None:
        """Return the index's record of the content."""
        return self._index.content(digest)

    async def open(self, digest: Digest) -> StoredBlob | None:
        """Return the content, if it is stored and has the recorded size. A store that cannot be read is a miss."""
        try:
            stored = self._store.open(digest)
        except StoreError as error:
            log.error("cannot read %s, downloading it again: %s. Check the disk.", digest, error)  # noqa: TRY400
            return None
        if stored is None:
            return None
        content = self._index.content(digest)
        if digest not in self._damaged and (content is None or content.size == stored.size):
            return stored
        log.error("%s is damaged in the store, downloading it again. Check the disk.", digest)
        self._damaged.discard(digest)
        stored.close()
        await self.remove(digest)
        return None

    async def body(self, digest: Digest) -> StoredBody | None:
        """Return the content as the body of a response, if `open` returns it. The caller closes it."""
        stored = await self.open(digest)
        return None if stored is None else StoredBody(stored, partial(self.report_damage, digest))

    def report_damage(self, digest: Digest) -> None:
        """Mark a file that could not be read to its end: the next request downloads the content again."""
        self._damaged.add(digest)

    async def has(self, digest: Digest) -> bool:
        """Return whether `open` would return the content."""
        stored = await self.open(digest)
        if stored is not None:
            stored.close()
        return stored is not None

    async def ensure_counted(self, digest: Digest, size: int) -> None:
        """Record content that the index does not know, as after the loss of the index."""
        if self._index.content(digest) is None:
            with log_index_errors(f"recording the size of {digest}"):
                await self._index.adopt([(digest, size)], self._clock())

    async def remove(self, digest: Digest) -> None:
        """Remove damaged content: row first, file second."""
        with log_index_errors(f"recording the loss of {digest}"):
            await self._index.forget([digest])
        try:
            await HOUSEKEEPING.run(self._store.delete, digest)
        except StoreError as error:
            log.error("cannot delete damaged %s: %s. Check the disk.", digest, error)  # noqa: TRY400

    async def end_reservation(self, digest: Digest) -> None:
        """Release the bytes reserved for content that is not stored after all."""
        with log_index_errors(f"releasing the reservation of {digest}"):
            await self._index.release(digest)

    def touch(self, digest: Digest) -> None:
        """Record an access now."""
        self._access_times.touch(digest)


@contextmanager
def log_index_errors(action: str) -> Iterator[None]:
    """Log a failed write to the index that no response depends on: on a full disk, stored content is still served.

    `action` names the write, such as "linking SOURCE@DIGEST".
    """
    try:
        yield
    except IndexFailedError as error:
        log.error("%s failed: %s. Check the disk under the storage path.", action, error)  # noqa: TRY400
