"""Content in the store, with what the index knows of it. The file is believed, not the row."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.cache.failures import recorded_if_possible
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.cache.access_times import AccessTimes
    from registry_proxy.index.base import Content, Index
    from registry_proxy.oci.digest import Digest
    from registry_proxy.storage.base import BlobStore, StoredBlob

log = logging.getLogger(__name__)


class ContentStore:
    """Stored content: opening it, damage, and access times."""

    def __init__(
        self, store: BlobStore, index: Index, access_times: AccessTimes, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._index = index
        self._access_times = access_times
        self._clock = clock
        self._damaged: set[Digest] = set()

    def known(self, digest: Digest) -> Content | None:
        """What the index says of it."""
        return self._index.content(digest)

    async def open(self, digest: Digest) -> StoredBlob | None:
        """The content, if it is there and whole by its size. A store that can't be read counts as a miss."""
        try:
            stored = self._store.open(digest)
        except StoreError as error:
            log.error("%s can't be read and is fetched anew: %s. Check the disk.", digest, error)  # noqa: TRY400
            return None
        if stored is None:
            return None
        content = self._index.content(digest)
        if digest not in self._damaged and (content is None or content.size == stored.size):
            return stored
        log.error("%s is damaged in the store and is fetched anew. Check the disk.", digest)
        self._damaged.discard(digest)
        stored.close()
        await self.remove(digest)
        return None

    def report_damage(self, digest: Digest) -> None:
        """Its file could not be read to the end: the next one who wants it has it fetched anew."""
        self._damaged.add(digest)

    async def has(self, digest: Digest) -> bool:
        """Whether `open` would find it."""
        stored = await self.open(digest)
        if stored is not None:
            stored.close()
        return stored is not None

    async def ensure_counted(self, digest: Digest, size: int) -> None:
        """Count content that the index doesn't know, as after the loss of the index."""
        if self._index.content(digest) is None:
            with recorded_if_possible(f"the size of {digest}"):
                await self._index.adopt([(digest, size)], self._clock())

    async def remove(self, digest: Digest) -> None:
        """Forget damaged content: row first, file second."""
        with recorded_if_possible(f"the loss of {digest}"):
            await self._index.forget([digest])
        try:
            await asyncio.to_thread(self._store.delete, digest)
        except StoreError as error:
            log.error("damaged %s can't be deleted: %s. Check the disk.", digest, error)  # noqa: TRY400

    async def end_reservation(self, digest: Digest) -> None:
        """It is not stored after all."""
        with recorded_if_possible(f"that {digest} is not stored"):
            await self._index.release(digest)

    def touch(self, digest: Digest) -> None:
        """It was used now."""
        self._access_times.touch(digest)
