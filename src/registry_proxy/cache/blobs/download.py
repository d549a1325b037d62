"""The task of one fill: download the blob into the store, or follow the process that does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import STORING
from registry_proxy.cache.blobs.fill import StoreStopped
from registry_proxy.cache.blobs.follow import WrongBytesError, follow
from registry_proxy.cache.blobs.ingest_writer import IngestWriter
from registry_proxy.cache.blobs.resumable import WrongSizeError
from registry_proxy.cache.content import log_index_errors
from registry_proxy.index.base import Index, IndexFailedError
from registry_proxy.storage.base import StoreError, StoreFullError
from registry_proxy.upstream.base import CodingError, UpstreamBrokenError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from registry_proxy.cache.blobs.fill import Fill
    from registry_proxy.cache.blobs.resumable import ResumableDownload
    from registry_proxy.cache.evictor import Evictor
    from registry_proxy.cache.links import Links
    from registry_proxy.storage.base import BlobStore, Ingest

log = logging.getLogger(__name__)

# In bytes: the steps in which a blob of unknown size gets room in the budget.
_STEP = 16 * 1024 * 1024

# Interval of the check whether the process of another registry has ended its fill, in seconds.
_POLL = 0.05


class _RereadError(Exception):
    """A coded body has to be read in the other way."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts of the cache that downloads share. The executor's threads write and hash.

    `clock` returns Unix seconds.
    """

    store: BlobStore
    index: Index
    links: Links
    evictor: Evictor
    executor: Executor
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Download:
    """One fill: the owner of its ingest, or the follower of the process that owns it."""

    _fill: Fill
    _source: ResumableDownload
    _tools: Tools

    async def run(self) -> Ingest | None:
        """Work until the fill is verified, or storing stopped. Return the ingest to commit if this process owns it.

        Raise UpstreamError if the upstream does not deliver. A failure of the store turns the fill into a pass-through.
        """
        link = self._tools.links.get(self._fill.source, self._fill.digest)
        self._fill.expected = self._source.stated = link.size if link else None
        try:
            ingest = await self._acquire()
        except StoreError as error:
            await self._stop_storing(StoreStopped(0, self._fill.digest.hasher()), error)
            return None
        if ingest is None:
            return None
        try:
            return await self._fill_ingest(ingest)
        except _RereadError:
            # In another file: other processes may have readers of this one.
            await self._discard(ingest)
            self._fill.advance(0)
            return await self.run()
        except UpstreamError as error:
            if not ingest.size or isinstance(error, WrongSizeError):
                await self._discard(ingest)
            ingest.close()
            raise
        except BaseException:
            # The bytes stay for the next attempt, in this process or in another one.
            ingest.close()
            raise

    async def _acquire(self) -> Ingest | None:
        """Return the ingest, once this process owns it; None if another process has completed the blob."""
        store, fill = self._tools.store, self._fill
        ingest = await self._wait_for_other_registry()
        if ingest is None:
            await self._tools.links.ensure(self._source.remote, fill.digest)
            followed = await follow(fill, store, self._known_size)
            if isinstance(followed, StoreStopped):
                await self._stop_storing(followed, StoreError("another process could not store the blob"))
                return None
            ingest = followed
        if ingest is None:
            return None
        try:
            stored = store.open(fill.digest)
        except StoreError:
            stored = None  # unreadable content is replaced
        if stored is None:
            return ingest
        # Another process committed the blob after this one checked the store and before it got the lock.
        ingest.discard()
        fill.attach(stored.file)
        await self._tools.links.ensure(self._source.remote, fill.digest)
        fill.advance(stored.size)
        fill.verify()
        return None

    async def _wait_for_other_registry(self) -> Ingest | None:
        """Return the ingest, once this process owns it; None once the process that owns it may be followed.

        Only stored content lets a registry prove that it has the blob that another registry delivers.
        """
        while True:
            ingest = self._tools.store.begin(self._fill.digest)
            if ingest is not None or self._is_from_this_registry():
                return ingest
            await asyncio.sleep(_POLL)

    def _is_from_this_registry(self) -> bool:
        """Return whether this registry delivers the bytes of the ingest, or has proved that it has the blob."""
        remote, digest = self._source.remote, self._fill.digest
        delivery = self._tools.index.delivery(digest)
        is_same = delivery is not None and delivery.source.registry == remote.source.registry
        return is_same or self._tools.links.is_known_to(remote, digest)

    def _known_size(self) -> int | None:
        """Return the size by the upstream, by the process that began to store the blob, or by a manifest."""
        return self._source.size or self._tools.index.reserved().get(self._fill.digest) or self._source.stated

    async def _fill_ingest(self, ingest: Ingest) -> Ingest | None:
        self._source.stated = self._known_size()
        if ingest.size:
            await self._trim(ingest)
        self._fill.attach(ingest.view())
        if ingest.size and self._tools.links.is_delivered(self._source.remote.source, ingest.digest):
            # Hashing a large leftover takes a while; its readers can begin.
            self._fill.start(self._source.stated)
        writer = IngestWriter(ingest, self._tools.executor, self._fill.advance)
        try:
            if ingest.size:
                await writer.hash_existing()
            if ingest.size and ingest.size == self._source.stated:
                # A crash came after the last byte: only access has to be confirmed.
                await self._tools.links.ensure(self._source.remote, ingest.digest)
            else:
                await self._download(ingest, writer)
        except CodingError as error:
            log.info("%s: %s", self._source, error)
        except (StoreError, IndexFailedError) as error:
            await writer.abandon()
            try:
                await self._stop_storing(StoreStopped(writer.hashed, writer.hasher), error)
            finally:
                await self._discard(ingest)
            return None
        finally:
            self._tools.evictor.end_growth(ingest.digest)
            await writer.abandon()
        if writer.hasher.hexdigest() != ingest.digest.hex:
            if self._fill.size is None and self._source.reread():
                raise _RereadError
            await self._discard(ingest)
            raise UpstreamBrokenError(f"the upstream's bytes for {self._source} do not match the digest")
        self._fill.verify()
        return ingest

    async def _trim(self, ingest: Ingest) -> None:
        """Drop a leftover that cannot be the beginning of this blob, or that may come from another registry."""
        size = self._source.stated
        if size is None or ingest.size > size or not self._is_from_this_registry():
            if self._fill.started:
                raise WrongBytesError(self._source)
            await STORING.run(ingest.truncate)
            self._fill.advance(0)

    async def _download(self, ingest: Ingest, writer: IngestWriter) -> None:
        if not ingest.size:
            # Other workers read from this which repository delivers the bytes. A leftover keeps its repository until
            # the upstream of this one has responded.
            await self._tools.index.reserve(ingest.digest, 0, self._tools.clock(), self._fill.source)
        async with self._source.open(ingest.size) as chunks:
            reserved = await self._begin(ingest)
            received = ingest.size
            async for chunk in chunks:
                received += len(chunk)
                if received > reserved:
                    reserved = await self._grow(ingest, received)
                await self._with_room(writer.put(chunk), ingest, writer)
        await self._with_room(writer.flush(), ingest, writer)

    async def _begin(self, ingest: Ingest) -> int:
        """Reserve the blob's size, and return it in bytes, 0 if it is unknown.

        A link takes the whole blob: a response alone proves nothing.
        """
        size = self._source.expected
        if not await self._tools.evictor.reserve(ingest.digest, size or 0, self._fill.source):
            raise StoreFullError(f"the blob's {size} bytes do not fit into the budget max_size")
        if self._source.is_doubtful and not self._fill.started:
            self._fill.expected = size
        else:
            self._fill.start(size)
        return size or 0

    async def _grow(self, ingest: Ingest, received: int) -> int:
        """Make room for bytes that were not announced, a step ahead. Return the size in bytes that fits."""
        for size in (received + _STEP, received):
            if await self._tools.evictor.grow(ingest.digest, size):
                return size
        raise StoreFullError(f"after {received} bytes, the blob does not fit into the budget max_size")

    async def _with_room(self, write: Awaitable[None], ingest: Ingest, writer: IngestWriter) -> None:
        try:
            await write
        except StoreFullError:
            missing = (self._source.size or ingest.size) - ingest.size
            if not await self._tools.evictor.free(missing):
                raise
            await writer.retry()

    async def _discard(self, ingest: Ingest) -> None:
        try:
            await STORING.run(ingest.discard)
        except StoreError as error:
            log.error("%s. Check the disk.", error)  # noqa: TRY400
        with log_index_errors(f"ending the fill of {ingest.digest}"):
            await self._tools.index.release(ingest.digest)

    async def _stop_storing(self, stopped: StoreStopped, error: Exception) -> None:
        """End the fill as a pass-through: the stored bytes stay readable, and each reader downloads the rest."""
        log.warning(
            "%s is passed through without caching: %s. Free space under the storage path, or lower max_size.",
            self._source,
            error,
        )
        if self._source.expected is None:
            await self._request_size()
        self._fill.stop_storing(stopped)
        self._fill.start(self._source.expected)

    async def _request_size(self) -> None:
        async with self._source.open(0):
            pass
        if self._source.expected is None:
            raise UpstreamBrokenError(
                f"the upstream does not report the size of {self._source}, and the blob cannot be stored to find out"
            )
