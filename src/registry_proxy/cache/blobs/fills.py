"""The running fills of this process: one per digest."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.fair_limit import FairLimit, QueueFullError
from registry_proxy.aio.pools import STORING
from registry_proxy.cache.blobs.download import Download
from registry_proxy.cache.blobs.fill import Fill
from registry_proxy.cache.blobs.resumable import ResumableDownload
from registry_proxy.cache.content import log_index_errors
from registry_proxy.cache.failures import TooBusyError, index_failure, to_registry_error
from registry_proxy.index.base import IndexFailedError
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.manifest import Descriptor
from registry_proxy.storage.base import StoreError
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.cache.blobs.download import Tools
    from registry_proxy.oci.reference import Digest
    from registry_proxy.storage.base import Ingest
    from registry_proxy.upstream.base import RemoteRepository

log = logging.getLogger(__name__)


# Memory for all fills in bytes, and that of one: the buffers of its connection, and batches that wait for the disk. A
# small blob needs less, so that the small layers of an image are downloaded together.
_MEMORY = 128 * 1024 * 1024
_MOST_MEMORY = 8 * 1024 * 1024
_LEAST_MEMORY = 3 * 512 * 1024
# Fills that wait for memory.
_QUEUE = 1024


class Fills:
    """Running fills by digest, as many as there is memory for.

    They outlive the requests that started them, unless only others wait, for their memory.
    """

    def __init__(
        self,
        tools: Tools,
        background: BackgroundTasks,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._tools = tools
        self._background = background
        self._clock = clock
        self._sleep = sleep
        self._running: dict[Digest, Fill] = {}
        self._limit = FairLimit(_MEMORY, _QUEUE)
        self._without_readers: dict[Fill, asyncio.Task[None]] = {}  # in the order in which they were left

    def running(self, digest: Digest) -> Fill | None:
        """Return the running fill of the digest."""
        return self._running.get(digest)

    def join(self, remote: RemoteRepository, digest: Digest) -> tuple[Fill, bool]:
        """Return the running fill of the digest, or a new one through `remote`, and whether it is new.

        Look-up and registration are one step without an `await`: that is why there is one fill per digest.
        """
        fill = self._running.get(digest)
        if fill is not None:
            return fill, False
        fill = self._running[digest] = Fill(digest, remote.source)
        task = self._background.spawn(self._run(fill, remote), f"fill of {remote.source}@{digest}")
        fill.on_deserted = partial(self._deserted, fill, task)
        # This also ends a fill whose task was cancelled before its first step.
        task.add_done_callback(partial(self._end, fill, ConnectionAbortedError("the server stops")))
        return fill, True

    async def _run(self, fill: Fill, remote: RemoteRepository) -> None:
        weight = self._weight(fill)
        if not self._limit.has_room(weight):
            self._end_deserted()
        try:
            async with self._limit.admitted(weight):
                fill.has_begun = True
                download = ResumableDownload(remote, fill.digest, self._sleep)
                ingest = await Download(fill, download, self._tools).run()
            if ingest is not None:
                await self._commit(fill, ingest)
        except QueueFullError:
            error = TooBusyError("downloads")
            self._end(fill, to_registry_error(error, fill.source.registry, ErrorCode.BLOB_UNKNOWN))
        except UpstreamError as error:
            log.warning("fill of %s from %s failed: %s", fill.digest, fill.source, error)
            self._end(fill, to_registry_error(error, fill.source.registry, ErrorCode.BLOB_UNKNOWN))
        except IndexFailedError as error:
            log.error("fill of %s from %s failed: %s", fill.digest, fill.source, error)  # noqa: TRY400
            self._end(fill, index_failure(error))
        except Exception as error:
            self._end(fill, error)
            raise
        else:
            self._end(fill, None)

    def _weight(self, fill: Fill) -> int:
        """Return the memory that the fill takes, in bytes, as far as its size is known."""
        link = self._tools.links.get(fill.source, fill.digest)
        size = link.size if link else None
        return _MOST_MEMORY if size is None else min(max(_LEAST_MEMORY, size), _MOST_MEMORY)

    def _deserted(self, fill: Fill, task: asyncio.Task[None]) -> None:
        """Note that no reader is left. A fill that has not begun ends, others continue while there is room for all."""
        if fill.has_begun:
            self._without_readers[fill] = task
        else:
            self._cancel(fill, task)

    def _end_deserted(self) -> None:
        """End the fill that has been without readers for the longest time. Its bytes stay for the next one."""
        for fill, task in list(self._without_readers.items()):
            del self._without_readers[fill]
            if fill.is_deserted and not fill.verified:
                log.info("%s paused: no client waits for it, and others wait for their downloads", fill)
                self._cancel(fill, task)
                return

    def _cancel(self, fill: Fill, task: asyncio.Task[None]) -> None:
        # The next client starts another fill.
        self._end(fill, ConnectionAbortedError("no client is left"))
        task.cancel()

    def _end(self, fill: Fill, error: Exception | None, _: object = None) -> None:
        """Remove the fill and give its readers the error. Do nothing the second time."""
        self._without_readers.pop(fill, None)
        if self._running.get(fill.digest) is fill:
            del self._running[fill.digest]
            if error is not None:
                fill.fail(error)
            fill.ended.set()
            fill.release()

    async def _commit(self, fill: Fill, ingest: Ingest) -> None:
        size = ingest.size  # another one may have been announced to readers
        commit = STORING.submit(ingest.commit)
        try:
            await asyncio.wait([commit])
        except asyncio.CancelledError:
            # The service stops. What is complete is still recorded: an outage may follow.
            await asyncio.wait([commit])
            await self._record(fill, size, commit)
            raise
        await self._record(fill, size, commit)

    async def _record(self, fill: Fill, size: int, commit: asyncio.Future[None]) -> None:
        try:
            commit.result()
        except StoreError as error:
            # The clients have all bytes, verified; only the cache lacks them.
            log.error("blob %s not stored: %s. Check the disk under the storage path.", fill.digest, error)  # noqa: TRY400
            with log_index_errors(f"ending the fill of {fill.digest}"):
                await self._tools.index.release(fill.digest)
            return
        with log_index_errors(f"recording {fill.digest} of {fill.source}"):
            await self._tools.index.record_blob(fill.source, Descriptor(fill.digest, size), self._clock())
