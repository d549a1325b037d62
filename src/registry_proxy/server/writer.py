"""Sending a blob's bytes over a connection."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

from registry_proxy.cache.results import FilePiece

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.server.responses import BlobResponse

# A client that takes less than a window in the write time-out is dropped, so windows are small against slow lines
# and large against the cost of a call.
_WINDOW = 4 * 1024 * 1024
# TLS costs per write: small ones take twice the processor time of these.
_TLS_WRITE = 512 * 1024
WRITE_TIMEOUT = 300.0


class TruncatedFileError(Exception):
    """The store's file is shorter than it was: the disk, or somebody, has damaged it."""


class BodyWriter:
    """Writes to one transport; `drain` waits until it can take more."""

    def __init__(self, transport: asyncio.Transport, drain: Callable[[], Awaitable[None]]) -> None:
        self._transport = transport
        self._drain = drain
        self._is_tls = transport.get_extra_info("sslcontext") is not None

    async def send(self, response: BlobResponse) -> None:
        """Send the body's bytes; each piece as soon as it is there.

        Raises RegistryError (the content broke off), OSError or TimeoutError (the client did), TruncatedFileError.
        """
        async with aclosing(response.body.pieces(response.start, response.stop)) as pieces:
            async for piece in pieces:
                if isinstance(piece, FilePiece):
                    await self._send_file(piece)
                else:
                    await self._write(piece)

    async def _send_file(self, piece: FilePiece) -> None:
        offset, stop = piece.offset, piece.offset + piece.length
        send = self._write_from_file if self._is_tls else self._sendfile
        while offset < stop:
            count = min(_WINDOW, stop - offset)
            # Ask for the next window now, so that a slow disk doesn't hold up the loop then.
            os.posix_fadvise(piece.file.fileno(), offset + count, _WINDOW, os.POSIX_FADV_WILLNEED)
            async with asyncio.timeout(WRITE_TIMEOUT):
                await send(piece, offset, count)
            offset += count

    async def _sendfile(self, piece: FilePiece, offset: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        sent = await loop.sendfile(self._transport, piece.file, offset, count, fallback=False)
        if sent < count:
            raise TruncatedFileError(f"the file ends at byte {offset + sent}")

    async def _write_from_file(self, piece: FilePiece, offset: int, count: int) -> None:
        stop = offset + count
        while offset < stop:
            chunk = os.pread(piece.file.fileno(), min(_TLS_WRITE, stop - offset), offset)
            if not chunk:
                raise TruncatedFileError(f"the file ends at byte {offset}")
            await self._write(chunk)
            offset += len(chunk)

    async def _write(self, chunk: bytes) -> None:
        self._transport.write(chunk)
        await self._drain()
