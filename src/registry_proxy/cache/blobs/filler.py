"""Driving one fill: from upstream into the store, by this process or by another one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.cache.blobs.fill import Fill, Spill, duplicate
from registry_proxy.cache.blobs.resumable import ResumableDownload, WrongSizeError
from registry_proxy.cache.blobs.writer import IngestWriter, hash_beginning
from registry_proxy.cache.failures import recorded_if_possible
from registry_proxy.index.base import Index, IndexFailedError
from registry_proxy.storage.base import StoreError, StoreFullError
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from concurrent.futures import Executor

    from registry_proxy.cache.evictor import Evictor
    from registry_proxy.cache.links import FillAccess
    from registry_proxy.storage.base import BlobStore, Followed, Ingest

log = logging.getLogger(__name__)

# Another process's progress is polled: often, for the latency; its end by a crash more seldom. Seconds.
_POLL = 0.01
_POLLS_PER_TAKEOVER = 25


@dataclass(frozen=True, slots=True)
class FillPorts:
    """What every fill works with. The executor's threads write and hash."""

    store: BlobStore
    index: Index
    evictor: Evictor
    executor: Executor


class Filler:
    """Makes one fill come true."""

    def __init__(self, fill: Fill, transfer: ResumableDownload, access: FillAccess, ports: FillPorts) -> None:
        self._fill = fill
        self._transfer = transfer
        self._access = access
        self._ports = ports

    async def run(self) -> Ingest | None:
        """Work until the fill is verified or spilled; the ingest that is now to be committed, if it is ours.

        Raises UpstreamError when the upstream doesn't deliver. What the store refuses ends in a spill, not in an error.
        """
        try:
            ingest = await self._own()
        except StoreError as error:
            await self._spill(Spill(0, self._fill.digest.hasher()), error)
            return None
        if ingest is None:
            return None
        try:
            return await self._fill_ingest(ingest)
        except UpstreamError as error:
            if not ingest.size or isinstance(error, WrongSizeError):
                await self._discard(ingest)
            ingest.close()
            raise
        except BaseException:
            # What is there stays for the next attempt, in this process or the next one.
            ingest.close()
            raise

    async def _own(self) -> Ingest | None:
        """The ingest, once it is ours; None when another process has completed the blob."""
        store, fill = self._ports.store, self._fill
        ingest = store.begin(fill.digest)
        if ingest is None:
            await self._access.confirm()
            ingest = await self._follow()
        if ingest is None:
            return None
        try:
            stored = store.open(fill.digest)
        except StoreError:
            stored = None  # what can't be read is replaced
        if stored is None:
            return ingest
        # Another process committed it between our look at the store and our lock.
        ingest.discard()
        fill.attach(stored.file)
        await self._access.confirm()
        fill.advance(stored.size)
        fill.verify()
        return None

    async def _follow(self) -> Ingest | None:
        """Read along with the process that fills: its ingest if it gave up or died, None when it is complete."""
        polls = 0
        followed: Followed | None = None
        try:
            while True:
                followed = followed or self._open_followed()
                if followed is not None and followed.discarded():
                    if self._fill.started and self._fill.available:
                        await self._go_on_without(followed)
                        return None
                    # It begins anew in another file, and nobody has read of this one.
                    followed.close()
                    followed = None
                    self._fill.advance(0)
                elif followed is not None and self._look_at(followed):
                    return None
                if polls % _POLLS_PER_TAKEOVER == 0 and (
                    ingest := self._ports.store.begin(self._fill.digest)
                ):
                    if followed is not None and self._look_at(followed):
                        ingest.discard()  # the other process completed the blob between the two looks
                        return None
                    return self._take_over(ingest)
                polls += 1
                await asyncio.sleep(_POLL)
        finally:
            if followed is not None:
                followed.close()

    def _open_followed(self) -> Followed | None:
        followed = self._ports.store.follow(self._fill.digest)
        if followed is not None:
            self._fill.attach(duplicate(followed.file))
        return followed

    def _look_at(self, followed: Followed) -> bool:
        """Pass on how far the other process is; whether it has completed the blob."""
        fill = self._fill
        # In this order: once it is verified, its size is final.
        verified, available, size = followed.verified(), followed.size(), self._known_size()
        if size and available > size and not verified:
            return False  # an older transfer's bytes, which its new owner is about to throw away
        fill.advance(max(fill.available, available))
        if verified:
            fill.verify()
        elif not fill.started and size:
            fill.start(size)
        return verified

    async def _go_on_without(self, followed: Followed) -> None:
        """The other process gave up storing: for want of space, or because the bytes are wrong.

        The hash goes on from what was read of them, so that the end tells which it was.
        """
        available = self._fill.available
        if followed.size() < available:
            raise self._wrong_bytes()
        hasher = self._fill.digest.hasher()
        await asyncio.to_thread(hash_beginning, followed.file, available, hasher)
        await self._spill(Spill(available, hasher), StoreError("another process could not store it"))

    def _known_size(self) -> int | None:
        return self._transfer.size or self._ports.index.reserved().get(self._fill.digest)

    def _take_over(self, ingest: Ingest) -> Ingest:
        if ingest.size < self._fill.available:
            ingest.close()
            raise self._wrong_bytes()
        log.info("%s: taking over the fill of a process that ended", self._transfer.name)
        return ingest

    def _wrong_bytes(self) -> UpstreamBrokenError:
        return UpstreamBrokenError(
            f"its bytes for {self._transfer.name} were wrong and are discarded; pull again"
        )

    async def _fill_ingest(self, ingest: Ingest) -> Ingest | None:
        await self._trim(ingest)
        self._fill.attach(ingest.view())
        if ingest.size and self._access.is_trusted():
            # Hashing a large leftover takes a while; its readers can begin.
            self._fill.start(self._transfer.size)
        writer = IngestWriter(ingest, self._ports.executor, self._fill.advance)
        try:
            await writer.hash_existing()
            await self._copy(ingest, writer)
        except (StoreError, IndexFailedError) as error:
            await writer.abandon()
            await self._spill(Spill(writer.hashed, writer.hasher), error)
            await self._discard(ingest)
            return None
        finally:
            await writer.abandon()
        if writer.hasher.hexdigest() != ingest.digest.hex:
            await self._discard(ingest)
            raise UpstreamBrokenError(f"the bytes it sent for {self._transfer.name} don't have that digest")
        self._fill.verify()
        return ingest

    async def _trim(self, ingest: Ingest) -> None:
        """Forget leftovers that can't be the beginning of this blob."""
        size = self._transfer.size = self._known_size()
        if ingest.size and (size is None or ingest.size > size):
            if self._fill.started:
                raise self._wrong_bytes()
            await asyncio.to_thread(ingest.truncate)
            self._fill.advance(0)

    async def _copy(self, ingest: Ingest, writer: IngestWriter) -> None:
        if ingest.size and ingest.size == self._transfer.size:
            # A crash came after the last byte: only the access is to be confirmed.
            await self._access.confirm()
            return
        begun = False
        async with aclosing(self._transfer.chunks(ingest.size)) as chunks:
            async for chunk in chunks:
                if not begun:
                    begun = True
                    await self._begin(ingest)
                if chunk:
                    await self._with_room(writer.put(chunk), ingest, writer)
        await self._with_room(writer.flush(), ingest, writer)

    async def _begin(self, ingest: Ingest) -> None:
        """The upstream has answered, which is its word that the repository holds the blob."""
        size = self._transfer.size
        await self._access.grant()
        if not await self._ports.evictor.reserve(ingest.digest, size or 0):
            raise StoreFullError(f"its {size} bytes don't fit into the budget max_size")
        self._fill.start(size)

    async def _with_room(self, write: Awaitable[None], ingest: Ingest, writer: IngestWriter) -> None:
        try:
            await write
        except StoreFullError:
            missing = (self._transfer.size or ingest.size) - ingest.size
            if not await self._ports.evictor.free(missing):
                raise
            await writer.retry()

    async def _discard(self, ingest: Ingest) -> None:
        try:
            await asyncio.to_thread(ingest.discard)
        except StoreError as error:
            log.error("%s. Check the disk.", error)  # noqa: TRY400
        with recorded_if_possible(f"the end of the fill of {ingest.digest}"):
            await self._ports.index.release(ingest.digest)

    async def _spill(self, spill: Spill, error: Exception) -> None:
        """The store takes no more: what is in the file can be read, and each reader fetches the rest for itself."""
        log.warning(
            "%s is passed through uncached: %s. Free space under the storage path, or lower max_size.",
            self._transfer.name,
            error,
        )
        if self._transfer.size is None:
            await self._learn_size()
        self._fill.stop_storing(spill)
        self._fill.start(self._transfer.size)

    async def _learn_size(self) -> None:
        async with aclosing(self._transfer.chunks(0)) as chunks:
            await anext(chunks)
        if self._transfer.size is None:
            raise UpstreamBrokenError(
                f"it does not tell the size of {self._transfer.name}, which can't be stored to find out"
            )
        await self._access.grant()
