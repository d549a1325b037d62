"""Writers that send a blob's bytes over a connection."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

from registry_proxy.aio.descriptors import writable
from registry_proxy.cache.results import FilePiece

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from registry_proxy.server.responses import BlobResponse

# In bytes. The next window of the file is read ahead, so that a slow disk does not block the event loop.
_WINDOW = 4 * 1024 * 1024
# In bytes. A client that does not read costs one such piece, and OpenSSL keeps a buffer of the largest one.
_PIECE = 32 * 1024
# In bytes: the pieces for clients that have read faster than this per second, which save a seventh of the time.
_FAST_PIECE = 256 * 1024
_FAST = 8 * 1024 * 1024


class DamagedFileError(Exception):
    """A file of the store is shorter than before, or unreadable: the disk or another process has damaged it."""


class BodyWriter:
    """Writer for one transport. `sent` is called with the number of bytes that it has accepted.

    `drain` waits until the transport accepts more bytes. `stalled` wraps each wait for a client that accepts none.
    `speed` is that of the client.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        stalled: Callable[[Awaitable[None]], Awaitable[None]],
        sent: Callable[[int], None],
        speed: ClientSpeed,
    ) -> None:
        self._transport = transport
        self._drain = drain
        self._stalled = stalled
        self._sent = sent
        self._speed = speed
        self._is_tls = transport.get_extra_info("sslcontext") is not None

    async def send(self, response: BlobResponse) -> None:
        """Send the body's bytes, each piece as soon as it is available.

        Raise RegistryError if the content is incomplete, OSError if the client has disconnected, DamagedFileError.
        """
        async with aclosing(response.body.pieces(response.start, response.stop)) as pieces:
            if self._is_tls:
                await self._send_encrypted(pieces)
            else:
                await self._send_plain(pieces)

    async def _send_plain(self, pieces: AsyncIterator[FilePiece | bytes]) -> None:
        sender = SocketSender(self._transport, self._stalled, self._sent)
        try:
            async for piece in pieces:
                if isinstance(piece, FilePiece):
                    await self._drain()  # sendfile must not overtake the transport's buffer
                    await sender.send(piece)
                else:
                    await send_bytes(self._transport, piece, self._drain, self._sent)
        finally:
            sender.close()

    async def _send_encrypted(self, pieces: AsyncIterator[FilePiece | bytes]) -> None:
        async for piece in pieces:
            if isinstance(piece, FilePiece):
                await self._encrypt(piece)
            else:
                await send_bytes(self._transport, piece, self._drain, self._sent)

    async def _encrypt(self, piece: FilePiece) -> None:
        file, offset, stop = piece.file.fileno(), piece.offset, piece.offset + piece.length
        ahead = offset
        await self._drain()
        while offset < stop:
            if offset >= ahead:
                ahead = offset + _WINDOW
                _read_ahead(file, offset, stop, _WINDOW)
            chunk = _read(file, min(self._speed.piece, stop - offset), offset)
            offset += len(chunk)
            self._transport.write(chunk)
            self._sent(len(chunk))
            self._speed.sent += len(chunk)
            await self._drain()


class ClientSpeed:
    """The speed of a client, as far as it is known from the waits for it, and the size of its TLS pieces in bytes.

    The kernel's buffer takes the first bytes at any speed. `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self.sent = 0
        self.piece = _PIECE

    def resumed(self) -> None:
        """Record that the client has read, after a wait for it."""
        now = self._clock()
        is_fast = self.sent > _FAST * (now - self._since)
        self.piece = _FAST_PIECE if is_fast else _PIECE
        self._since, self.sent = now, 0


async def send_bytes(
    transport: asyncio.Transport,
    data: bytes,
    drain: Callable[[], Awaitable[None]],
    sent: Callable[[int], None],
) -> None:
    """Send bytes piece by piece, as the client accepts them: a large buffer would be copied for each client."""
    view = memoryview(data)
    for start in range(0, len(data), _PIECE):
        await drain()
        piece = view[start : start + _PIECE]
        transport.write(piece)
        sent(len(piece))
    await drain()


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
    if len(chunk) < length:
        raise DamagedFileError(f"the file ends at byte {offset}")
    return chunk


def _read_ahead(file: int, offset: int, stop: int, length: int) -> None:
    os.posix_fadvise(file, offset, min(length, stop - offset), os.POSIX_FADV_WILLNEED)
