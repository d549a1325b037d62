"""All fills of this process: one a digest."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.cache.blobs.fill import Fill
from registry_proxy.cache.blobs.filler import Filler, FillPorts
from registry_proxy.cache.failures import recorded_if_possible, to_registry_error
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.oci.manifest import Descriptor
from registry_proxy.storage.base import StoreError
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.cache.blobs.resumable import ResumableDownload
    from registry_proxy.cache.links import FillAccess
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Source
    from registry_proxy.storage.base import Ingest
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)


class Fills:
    """Running fills, by digest. They are the service's: a client that leaves doesn't end one."""

    def __init__(self, ports: FillPorts, background: BackgroundTasks, clock: Callable[[], float]) -> None:
        self._ports = ports
        self._background = background
        self._clock = clock
        self._running: dict[Digest, Fill] = {}

    def running(self, digest: Digest) -> Fill | None:
        """The fill of this digest, if one is under way."""
        return self._running.get(digest)

    def start(
        self,
        upstream: Upstream,
        source: Source,
        digest: Digest,
        transfer: ResumableDownload,
        access: FillAccess,
    ) -> Fill:
        """Begin a fill. There is no other one: no `await` lies between `running` and this call."""
        assert digest not in self._running, "one fill a digest"
        fill = Fill(digest, source, transfer.size)
        self._running[digest] = fill
        filler = Filler(fill, transfer, access, self._ports)
        task = self._background.spawn(self._drive(upstream, fill, filler), f"fill {transfer.name}")
        # Also where it is cancelled before it began.
        stopped = ConnectionAbortedError("the server stops")
        task.add_done_callback(lambda task: self._end(fill, stopped if task.cancelled() else None))
        return fill

    async def _drive(self, upstream: Upstream, fill: Fill, filler: Filler) -> None:
        try:
            ingest = await filler.run()
            if ingest is not None:
                await self._commit(fill, ingest)
        except UpstreamError as error:
            log.warning("the fill of %s from %s failed: %s", fill.digest, fill.source, error)
            self._end(fill, to_registry_error(error, upstream, ErrorCode.BLOB_UNKNOWN))
        except Exception as error:
            self._end(fill, error)
            raise

    def _end(self, fill: Fill, error: Exception | None) -> None:
        """Nobody joins it any more; those who wait get the error. A second time it does nothing."""
        if self._running.get(fill.digest) is not fill:
            return
        del self._running[fill.digest]
        if error is not None:
            fill.fail(error)
        fill.release()

    async def _commit(self, fill: Fill, ingest: Ingest) -> None:
        assert fill.size is not None, "a verified fill knows its size"
        commit = asyncio.get_running_loop().run_in_executor(None, ingest.commit)
        # A wait that is cancelled, as when the service stops, leaves the thread to complete its work.
        commit.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([commit])
        try:
            commit.result()
        except StoreError as error:
            # The clients have all bytes, verified; only the cache doesn't keep them.
            log.error("%s was not stored: %s. Check the disk under the storage path.", fill.digest, error)  # noqa: TRY400
            with recorded_if_possible(f"the end of the fill of {fill.digest}"):
                await self._ports.index.release(fill.digest)
            return
        descriptor = Descriptor(fill.digest, fill.size)
        with recorded_if_possible(f"{fill.digest} of {fill.source}"):
            await self._ports.index.record_blob(fill.source, descriptor, self._clock())
