"""Blobs as the server sends them: from the store, or as they come in."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from registry_proxy.cache.blobs.pass_through import pass_through
from registry_proxy.cache.failures import to_registry_error
from registry_proxy.cache.results import FilePiece
from registry_proxy.oci.errors import ErrorCode
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from io import FileIO

    from registry_proxy.cache.blobs.fill import Fill
    from registry_proxy.cache.blobs.resumable import ResumableDownload
    from registry_proxy.storage.base import StoredBlob
    from registry_proxy.upstream.base import Upstream


class StoredBody:
    """A blob that is in the store; `report_damage` is called when it can't be read."""

    def __init__(self, stored: StoredBlob, report_damage: Callable[[], None]) -> None:
        self._stored = stored
        self.size = stored.size
        self.report_damage = report_damage

    async def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """All of it at once."""
        if stop > start:
            yield FilePiece(self._stored.file, start, stop - start)

    def close(self) -> None:
        """Close the file."""
        self._stored.close()


class FillBody:
    """A blob that is coming in. It counts as a user of the fill until it is closed."""

    def __init__(
        self, fill: Fill, size: int, upstream: Upstream, transfer: Callable[[], ResumableDownload]
    ) -> None:
        self.size = size
        self._fill = fill
        self._upstream = upstream
        self._transfer = transfer
        self._file: FileIO | None = None

    async def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """What is there, then what comes in; what the store didn't take comes straight from upstream."""
        offset = start
        while offset < stop:
            limit = min(await self._fill.readable(offset), stop)
            if limit <= offset:
                async with aclosing(self._rest(offset, stop)) as rest:
                    async for chunk in rest:
                        yield chunk
                return
            self._file = self._file or self._fill.view()
            yield FilePiece(self._file, offset, limit - offset)
            offset = limit

    def report_damage(self) -> None:
        """Whoever drives the fill meets the same damage."""

    def close(self) -> None:
        """Leave the fill."""
        if self._file is not None:
            self._file.close()
        self._fill.release()

    async def _rest(self, offset: int, stop: int) -> AsyncGenerator[bytes]:
        assert self._fill.spill is not None, "there is a rest only where the store took no more"
        try:
            chunks = pass_through(self._transfer(), self._fill.digest, self._fill.spill, offset, stop)
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
        except UpstreamError as error:
            raise to_registry_error(error, self._upstream, ErrorCode.BLOB_UNKNOWN) from error
