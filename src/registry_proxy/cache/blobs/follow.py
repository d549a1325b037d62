"""Following a fill that another process owns: its file is read while it grows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import READING
from registry_proxy.cache.blobs.fill import StoreStopped, duplicate
from registry_proxy.cache.blobs.ingest_writer import hash_beginning
from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.cache.blobs.fill import Fill
    from registry_proxy.storage.base import BlobStore, FollowedIngest, Ingest

log = logging.getLogger(__name__)

# The other process's progress is polled often, for the latency; its end by a crash more rarely. Seconds.
_POLL = 0.01
_POLLS_PER_TAKEOVER = 25


class WrongBytesError(UpstreamBrokenError):
    """The bytes that readers received so far were wrong and are discarded."""

    def __init__(self, blob: object) -> None:
        super().__init__(f"the upstream's bytes for {blob} were wrong and are discarded; pull again")


async def follow(
    fill: Fill, store: BlobStore, known_size: Callable[[], int | None]
) -> Ingest | StoreStopped | None:
    """Read along with the process that owns the ingest.

    Return None once the blob is complete, the ingest if its owner ended or gave up, or the point at which the owner
    stopped storing. Raise WrongBytesError, or StoreError.
    """
    return await _Follower(fill, store, known_size).run()


class _Follower:
    def __init__(self, fill: Fill, store: BlobStore, known_size: Callable[[], int | None]) -> None:
        self._fill = fill
        self._store = store
        self._known_size = known_size
        self._followed: FollowedIngest | None = None

    async def run(self) -> Ingest | StoreStopped | None:
        polls = 0
        try:
            while True:
                self._open()
                if self._followed is not None and self._followed.discarded():
                    if self._fill.started and self._fill.available:
                        return await self._rest(self._followed)
                    # The owner starts again in another file, and no reader has read this one.
                    self._close()
                    self._fill.advance(0)
                elif self._is_complete():
                    return None
                if polls % _POLLS_PER_TAKEOVER == 0 and (ingest := self._store.begin(self._fill.digest)):
                    if self._is_complete():
                        ingest.discard()  # the owner completed the blob between the two checks
                        return None
                    return self._take_over(ingest)
                polls += 1
                await asyncio.sleep(_POLL)
        finally:
            self._close()

    def _open(self) -> None:
        if self._followed is None:
            self._followed = self._store.follow(self._fill.digest)
            if self._followed is not None:
                self._fill.attach(duplicate(self._followed.file))

    def _close(self) -> None:
        if self._followed is not None:
            self._followed.close()
            self._followed = None

    def _is_complete(self) -> bool:
        """Pass the owner's progress on to the readers. Return whether the owner has completed the blob."""
        fill, followed = self._fill, self._followed
        if followed is None:
            return False
        # In this order: once the blob is verified, its size is final.
        verified, available, size = followed.verified(), followed.size(), self._known_size()
        if size and available > size and not verified:
            return False  # an older transfer's bytes, which the new owner is about to drop
        fill.advance(max(fill.available, available))
        if verified:
            fill.verify()
        elif not fill.started and size and fill.expected in (None, size):
            # Otherwise the manifests of two repositories state different sizes: only the digest shows which is right.
            fill.start(size)
        return verified

    async def _rest(self, followed: FollowedIngest) -> StoreStopped:
        """Return the point at which the owner stopped storing: the disk is full, or the bytes are wrong.

        The hash continues from the bytes that were read, so the end shows which it was.
        """
        available = self._fill.available
        if followed.size() < available:
            raise self._wrong_bytes()
        hasher = self._fill.digest.hasher()
        await READING.run(hash_beginning, followed.file, available, hasher)
        return StoreStopped(available, hasher)

    def _take_over(self, ingest: Ingest) -> Ingest:
        if ingest.size < self._fill.available:
            ingest.close()
            raise self._wrong_bytes()
        log.info("%s: taking over the fill of a process that ended", self._fill)
        return ingest

    def _wrong_bytes(self) -> WrongBytesError:
        return WrongBytesError(self._fill)
