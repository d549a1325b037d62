"""The running fills of this process: one per digest."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import STORING
from registry_proxy.cache.blobs.download import Download
from registry_proxy.cache.blobs.fill import Fill
from registry_proxy.cache.blobs.resumable import ResumableDownload
from registry_proxy.cache.content import log_index_errors
from registry_proxy.cache.failures import index_failure, to_registry_error
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


class Fills:
    """Running fills by digest. They outlive the requests that started them."""

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
        # This also ends a fill whose task was cancelled before its first step.
        task.add_done_callback(partial(self._end, fill, ConnectionAbortedError("the server stops")))
        return fill, True

    async def _run(self, fill: Fill, remote: RemoteRepository) -> None:
        try:
            ingest = await Download(
                fill, ResumableDownload(remote, fill.digest, self._sleep), self._tools
            ).run()
            if ingest is not None:
                await self._commit(fill, ingest)
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

    def _end(self, fill: Fill, error: Exception | None, _: object = None) -> None:
        """Remove the fill and give its readers the error. Do nothing the second time."""
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
