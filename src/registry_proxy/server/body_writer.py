"""Writers that send a blob's bytes over a connection."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.descriptors import writable
from registry_proxy.cache.results import FilePiece

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from registry_proxy.observe.observer import Observer
    from registry_proxy.server.responses import BlobResponse

# In bytes. The next window of the file is read ahead, so that a slow disk does not block the event loop.
_WINDOW = 4 * 1024 * 1024
# In bytes. Each TLS write has a fixed cost: small writes take twice the processor time of these.
_TLS_WRITE = 512 * 1024


class DamagedFileError(Exception):
    """A file of the store is shorter than before, or unreadable: the disk or another process has damaged it."""


class BodyWriter:
    """Writer for one transport. It reports the bytes to `observer`.

    `drain` waits until the transport accepts more bytes. `stalled` wraps each wait for a client that accepts none.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        stalled: Callable[[Awaitable[None]], Awaitable[None]],
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._registry: str | None = None
        self._transport = transport
        self._drain = drain
        self._stalled = stalled
        self._is_tls = transport.get_extra_info("sslcontext") is not None

    async def send(self, response: BlobResponse) -> None:
        """Send the body's bytes, each piece as soon as it is available.

        Raise RegistryError if the content is incomplete, OSError if the client has disconnected, DamagedFileError.
        """
        self._registry = response.registry
        async with aclosing(response.body.pieces(response.start, response.stop)) as pieces:
            if self._is_tls:
                await self._send_encrypted(pieces)
            else:
                await self._send_plain(pieces)

    async def _send_plain(self, pieces: AsyncIterator[FilePiece | bytes]) -> None:
        sender = SocketSender(self._transport, self._stalled, partial(self._observer.sent, self._registry))
        try:
            async for piece in pieces:
                if isinstance(piece, FilePiece):
                    if self._transport.get_write_buffer_size():
                        await self._flush()
                    await sender.send(piece)
                else:
                    await self._write(piece)
        finally:
            sender.close()

    async def _flush(self) -> None:
        """Wait until the transport has sent its buffer, which sendfile must not overtake."""
        low, high = self._transport.get_write_buffer_limits()
        self._transport.set_write_buffer_limits(high=0)
        await self._drain()
        self._transport.set_write_buffer_limits(high, low)

    async def _send_encrypted(self, pieces: AsyncIterator[FilePiece | bytes]) -> None:
        async for piece in pieces:
            if not isinstance(piece, FilePiece):
                await self._write(piece)
                continue
            offset, stop = piece.offset, piece.offset + piece.length
            while offset < stop:
                chunk = _read(piece.file.fileno(), min(_TLS_WRITE, stop - offset), offset)
                offset += len(chunk)
                if offset < stop:
                    _read_ahead(piece.file.fileno(), offset, stop, _TLS_WRITE)
                await self._write(chunk)

    async def _write(self, chunk: bytes) -> None:
        self._transport.write(chunk)
        self._observer.sent(self._registry, len(chunk))
        await self._drain()


class SocketSender:
    """sendfile(2) to a transport's socket.

    asyncio's `loop.sendfile` costs 100 µs per call, and a blob that is still being downloaded requires many calls. The
    event loop does not allow waiting for a transport's descriptor, so this class waits for a duplicate.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        stalled: Callable[[Awaitable[None]], Awaitable[None]],
        sent: Callable[[int], None],
    ) -> None:
        self._sent = sent
        self._stalled = stalled
        self._socket = os.dup(transport.get_extra_info("socket").fileno())

    async def send(self, piece: FilePiece) -> None:
        """Send the whole piece. Raise OSError if the client disconnects, DamagedFileError if the file ends early."""
        file = piece.file.fileno()
        offset, stop = piece.offset, piece.offset + piece.length
        while offset < stop:
            count = min(_WINDOW, stop - offset)
            try:
                sent = os.sendfile(self._socket, file, offset, count)
            except BlockingIOError:
                await self._stalled(writable(self._socket))
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # sockets never report EIO, so the file has
                    raise
                raise DamagedFileError(f"the file can't be read at byte {offset}") from error
            if sent == 0:
                raise DamagedFileError(f"the file ends at byte {offset}")
            offset += sent
            self._sent(sent)
            if offset < stop:
                _read_ahead(file, offset, stop, _WINDOW)

    def close(self) -> None:
        """Close the duplicate."""
        asyncio.get_running_loop().remove_writer(self._socket)
        os.close(self._socket)


def _read(file: int, length: int, offset: int) -> bytes:
    try:
        chunk = os.pread(file, length, offset)
    except OSError as error:
        raise DamagedFileError(f"the file can't be read at byte {offset}") from error
    if not chunk:
        raise DamagedFileError(f"the file ends at byte {offset}")
    return chunk


def _read_ahead(file: int, offset: int, stop: int, length: int) -> None:
    os.posix_fadvise(file, offset, min(length, stop - offset), os.POSIX_FADV_WILLNEED)
