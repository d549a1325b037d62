"""Reads of blobs: from the store, from a fill in progress, or from a new fill."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.fair_limit import FairLimit, QueueFullError
from registry_proxy.cache.blobs.checkpoints import Checkpoints
from registry_proxy.cache.blobs.fill import duplicate
from registry_proxy.cache.blobs.pass_through import pass_through
from registry_proxy.cache.blobs.resumable import ResumableDownload
from registry_proxy.cache.failures import TooBusyError, to_registry_error
from registry_proxy.cache.results import FilePiece, Outcome, ServedBlob, ServedSize
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from io import FileIO

    from registry_proxy.cache.blobs.fill import Fill
    from registry_proxy.cache.blobs.fills import Fills
    from registry_proxy.cache.content import ContentStore
    from registry_proxy.cache.links import Links
    from registry_proxy.oci.reference import Digest
    from registry_proxy.upstream.base import RemoteRepository

# How long the headers wait for the upstream's response if the size is known, in seconds. An error response is worth
# the wait, but containerd 2.3 gives up after 30 s without headers.
_HEADERS_TIMEOUT = 20.0
# Pass-throughs at a time, each with a few buffers of 2 MiB, and those that wait.
_PASS_THROUGHS = 16
_QUEUE = 256


class Blobs:
    """Reads of blobs through a repository."""

    def __init__(
        self, content: ContentStore, links: Links, fills: Fills, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._content = content
        self._sleep = sleep
        self._links = links
        self._fills = fills
        self._pass_throughs = FairLimit(_PASS_THROUGHS, _QUEUE)
        self._checkpoints = Checkpoints()

    async def get(self, remote: RemoteRepository, digest: Digest) -> ServedBlob:
        """Return the blob, which may still be in progress. Raise RegistryError. The caller closes the body."""
        body = await self._content.body(digest)
        if body is None:
            return await self._join(remote, digest)
        try:
            outcome = await self._check_access(remote, digest)
            await self._content.ensure_counted(digest, body.size)
        except BaseException:
            body.close()
            raise
        self._content.touch(digest)
        return ServedBlob(digest, body, outcome)

    async def head(self, remote: RemoteRepository, digest: Digest) -> ServedSize:
        """Return the blob's size without downloading it. Raise RegistryError."""
        content = self._content.known(digest)
        if content is not None:
            return ServedSize(digest, content.size, await self._check_access(remote, digest))
        link = self._links.get(remote.source, digest)
        if link is not None and link.size is not None and self._links.is_trusted(link):
            return ServedSize(digest, link.size, Outcome.HIT)
        try:
            size = await asyncio.shield(self._links.probe(remote, digest))
        except UpstreamError as error:
            raise to_registry_error(error, remote.source.registry, ErrorCode.BLOB_UNKNOWN) from error
        if size is None and link is not None:
            size = link.size
        if size is None:
            served = await self.get(remote, digest)
            served.body.close()
            size = served.body.size
        return ServedSize(digest, size, Outcome.REVALIDATED if link else Outcome.UPSTREAM)

    async def _check_access(self, remote: RemoteRepository, digest: Digest) -> Outcome:
        probe = partial(self._links.probe, remote, digest)
        return await self._links.check_access(remote, digest, ErrorCode.BLOB_UNKNOWN, probe)

    async def _join(self, remote: RemoteRepository, digest: Digest) -> ServedBlob:
        """Read from the fill of the digest: the running one, otherwise a new one."""
        fill, is_new = self._fills.join(remote, digest)
        if fill.source != remote.source:
            if fill.source.registry != remote.source.registry and not self._links.is_known_to(remote, digest):
                # Only stored content lets a registry prove that it has the blob, too.
                await fill.ended.wait()
                return await self.get(remote, digest)
            await self._check_access(remote, digest)
            if self._fills.running(digest) is not fill:
                return await self.get(remote, digest)
        fill.retain()
        try:
            await fill.wait_started(_HEADERS_TIMEOUT)
        except RegistryError:
            fill.release()
            if self._fills.running(digest) is fill:
                # It failed for the readers to whom a wrong size was announced, and continues.
                await fill.ended.wait()
            elif fill.source == remote.source:
                raise
            # Another repository's upstream has failed, which says nothing about this one.
            return await self.get(remote, digest)
        except BaseException:
            fill.release()
            raise
        if not self._is_of_size(fill, remote):
            # The size by another repository's manifest is announced; only the digest shows which one is right.
            fill.release()
            await fill.ended.wait()
            return await self.get(remote, digest)
        resumable = partial(ResumableDownload, remote, digest, self._sleep)
        body = FillBody(fill, resumable, self._pass_throughs, self._checkpoints)
        outcome = Outcome.PASS_THROUGH if fill.stopped else Outcome.MISS if is_new else Outcome.COLLAPSED
        return ServedBlob(digest, body, outcome)

    def _is_of_size(self, fill: Fill, remote: RemoteRepository) -> bool:
        """Return whether the announced size is that of this repository's manifests, as far as they state it."""
        link = self._links.get(remote.source, fill.digest)
        return fill.verified or fill.source == remote.source or link is None or link.size in (None, fill.size)


class FillBody:
    """A blob in progress. It is a user of the fill, whose size is known, until it is closed."""

    def __init__(
        self,
        fill: Fill,
        resumable: Callable[[int], ResumableDownload],
        pass_throughs: FairLimit,
        checkpoints: Checkpoints,
    ) -> None:
        assert fill.size is not None, "the size of a started fill is known"
        self.size = fill.size
        self._fill = fill
        self._resumable = resumable
        self._pass_throughs = pass_throughs
        self._checkpoints = checkpoints
        self._file: FileIO | None = None

    async def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """Yield the stored bytes as they arrive; bytes that the store did not accept come straight from upstream."""
        offset = start
        while offset < stop:
            limit = min(await self._fill.readable(offset), stop)
            if limit <= offset:
                async with aclosing(self._rest(offset, stop)) as rest:
                    async for chunk in rest:
                        yield chunk
                return
            if self._file is None:
                assert self._fill.file is not None, "readable bytes are in a file"
                self._file = duplicate(self._fill.file)
            yield FilePiece(self._file, offset, limit - offset)
            offset = limit

    def report_damage(self) -> None:
        """Do nothing: the fill's task gets the same error."""

    def close(self) -> None:
        """Leave the fill."""
        if self._file is not None:
            self._file.close()
        self._fill.release()

    async def _rest(self, offset: int, stop: int) -> AsyncGenerator[bytes]:
        assert self._fill.stopped is not None, "there is a rest only if storing stopped"
        download = self._resumable(self.size)
        try:
            async with (
                self._pass_throughs.admitted(),
                aclosing(
                    pass_through(download, self._fill.stopped, self._checkpoints, offset, stop)
                ) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        except QueueFullError:
            busy = TooBusyError("downloads without space on the disk")
            raise to_registry_error(busy, download.remote.source.registry, ErrorCode.BLOB_UNKNOWN) from None
        except UpstreamError as error:
            registry = download.remote.source.registry
            raise to_registry_error(error, registry, ErrorCode.BLOB_UNKNOWN) from error
