"""Clients that mean harm: they send invalid requests, read nothing, leave early, and guess names."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bench.soak.images import Item
    from bench.soak.ledger import Ledger

# Requests of one attack, and the seconds that a connection without progress is kept open.
_REQUESTS = 20
_HOLD = 2.0
_INVALID = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v2/%2e%2e/blobs/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v2/a/manifests/" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"x" * 70_000,
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET /v2/",
)


class Intruder:
    """A client that attacks the server on `port`. Only an internal error is a loss."""

    def __init__(self, port: int, items: Sequence[Item], ledger: Ledger, chance: random.Random) -> None:
        self._port = port
        self._items = items
        self._ledger = ledger
        self._random = chance

    async def run(self) -> None:
        """Attack in all ways, until cancelled."""
        while True:
            attack = self._random.choice((self._send_invalid, self._read_nothing, self._guess, self._leave))
            self._ledger.faults[f"attack: {attack.__name__.strip('_')}"] += 1
            # While the server is down there is nothing to attack.
            with suppress(OSError, asyncio.IncompleteReadError):
                await attack()
            await asyncio.sleep(self._random.random())

    async def _send_invalid(self) -> None:
        """Send bytes that are no acceptable request, and keep the connection for a while."""
        await self._exchange(self._random.choice(_INVALID))

    async def _guess(self) -> None:
        """Request tags of repositories that do not exist, all at once on one connection."""
        names = [self._random.randrange(10**9) for _ in range(_REQUESTS)]
        paths = [f"ghcr.io/guess/{name}/manifests/latest" for name in names]
        await self._exchange(b"".join(map(_request, paths)))

    async def _read_nothing(self) -> None:
        """Request layers many times on one connection, and read nothing of them."""
        requests = [self._layer() for _ in range(_REQUESTS)]
        # The stream stops reading at its limit, 64 KiB.
        _, writer = await self._connect()
        try:
            writer.write(b"".join(requests))
            await asyncio.sleep(_HOLD)
        finally:
            writer.transport.abort()

    async def _leave(self) -> None:
        """Request layers on many connections, and leave before the first byte."""
        for _ in range(_REQUESTS):
            _, writer = await self._connect()
            writer.write(self._layer())
            await asyncio.sleep(0)
            writer.transport.abort()

    async def _exchange(self, request: bytes) -> None:
        """Send a request, and check what comes back within some seconds."""
        reader, writer = await self._connect()
        received = b""
        try:
            writer.write(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(_HOLD):
                    while chunk := await reader.read(1 << 16):
                        received += chunk
        finally:
            writer.transport.abort()
        if b"HTTP/1.1 500" in received:
            self._ledger.lose("internal error", f"{request[:100]!r}: {received[:300]!r}")

    def _layer(self) -> bytes:
        item = self._random.choice(self._items)
        return _request(f"{item.name}/blobs/{item.own_layer}")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)


def _request(path: str) -> bytes:
    return f"GET /v2/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
