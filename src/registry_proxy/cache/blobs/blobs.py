"""Blobs: from the store, from a fill that is running, or from a new one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.cache.blobs.bodies import FillBody, StoredBody
from registry_proxy.cache.blobs.resumable import ResumableDownload
from registry_proxy.cache.failures import to_registry_error
from registry_proxy.cache.links import FillAccess, Links
from registry_proxy.cache.results import Outcome, ServedBlob, ServedSize
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Repository, Source
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.cache.blobs.fill import Fill
    from registry_proxy.cache.blobs.fills import Fills
    from registry_proxy.cache.content import ContentStore
    from registry_proxy.oci.digest import Digest
    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)

# How long headers are held back for the upstream's own answer where the size is known anyway: an honest error is
# worth the wait, but containerd 2.3 gives up after 30 s without headers.
_PATIENCE = 20.0


class Blobs:
    """Reads of blobs through a repository."""

    def __init__(
        self,
        content_store: ContentStore,
        access: Links,
        fills: Fills,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._content_store = content_store
        self._access = access
        self._fills = fills
        self._sleep = sleep

    async def get(self, upstream: Upstream, repository: Repository, digest: Digest) -> ServedBlob:
        """The blob, perhaps still coming in. Raises RegistryError. The caller closes the body."""
        source = Source(upstream.registry, repository)
        stored = await self._content_store.open(digest)
        if stored is not None:
            body = StoredBody(stored, lambda: self._content_store.report_damage(digest))
            try:
                outcome = await self._permit(upstream, source, digest)
                await self._content_store.ensure_counted(digest, body.size)
            except BaseException:
                body.close()
                raise
            self._content_store.touch(digest)
            return ServedBlob(digest, body, outcome)
        return await self._incoming(upstream, source, digest)

    async def head(self, upstream: Upstream, repository: Repository, digest: Digest) -> ServedSize:
        """The blob's size; nothing is fetched for it. Raises RegistryError."""
        source = Source(upstream.registry, repository)
        link = self._access.link(source, digest)
        content = self._content_store.known(digest)
        size = content.size if content else link.size if link else None
        if size is not None:
            outcome = await self._permit(upstream, source, digest)
            return ServedSize(digest, size, outcome)
        try:
            size = await self._access.confirm_blob(upstream, source, digest)
        except UpstreamError as error:
            raise to_registry_error(error, upstream, ErrorCode.BLOB_UNKNOWN) from error
        if size is None:
            served = await self.get(upstream, repository, digest)
            served.body.close()
            size = served.body.size
        return ServedSize(digest, size, Outcome.ASKED)

    async def _permit(self, upstream: Upstream, source: Source, digest: Digest) -> Outcome:
        return await self._access.permit(
            upstream,
            source,
            digest,
            ErrorCode.BLOB_UNKNOWN,
            lambda: self._access.ask_for_blob(upstream, source, digest),
        )

    async def _incoming(self, upstream: Upstream, source: Source, digest: Digest) -> ServedBlob:
        fill = self._fills.running(digest)
        if fill is not None and fill.source != source:
            await self._permit(upstream, source, digest)
            if self._fills.running(digest) is not fill:
                return await self.get(upstream, source.repository, digest)
        outcome = Outcome.JOINED
        if fill is None:
            outcome = Outcome.MISS
            fill = self._start(upstream, source, digest)
        fill.retain()
        try:
            await _started(fill)
        except RegistryError:
            fill.release()
            if fill.source == source or self._fills.running(digest) is fill:
                raise
            # Another repository's upstream has failed, which says nothing about this one's.
            return await self.get(upstream, source.repository, digest)
        except BaseException:
            fill.release()
            raise
        if fill.spill is not None:
            outcome = Outcome.PASSED
        assert fill.size is not None, "a started fill knows its size"
        size = fill.size
        body = FillBody(fill, size, upstream, lambda: self._transfer(upstream, source, digest, size))
        return ServedBlob(digest, body, outcome)

    def _start(self, upstream: Upstream, source: Source, digest: Digest) -> Fill:
        link = self._access.link(source, digest)
        transfer = self._transfer(upstream, source, digest, link.size if link else None)
        return self._fills.start(
            upstream, source, digest, transfer, FillAccess(self._access, upstream, source, digest)
        )

    def _transfer(
        self, upstream: Upstream, source: Source, digest: Digest, size: int | None
    ) -> ResumableDownload:
        return ResumableDownload(
            f"{source}@{digest}",
            lambda offset: upstream.blob(source.repository, digest, offset),
            size,
            self._sleep,
        )


async def _started(fill: Fill) -> None:
    try:
        async with asyncio.timeout(_PATIENCE if fill.size is not None else None):
            await fill.wait_started()
    except TimeoutError:
        log.warning("%s: upstream is slow to answer, headers go out before it has", fill.digest)
