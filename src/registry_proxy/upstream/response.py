"""What came back from an upstream: a head, and a body still to be read."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from registry_proxy.upstream.bulk import LARGE, set_low_water, take_over
from registry_proxy.upstream.failures import describe, excerpt, reason, refusal, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from multidict import CIMultiDictProxy

    from registry_proxy.upstream.base import Chunk
    from registry_proxy.upstream.bulk import LargeBody

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_SHORT_BODY = 16 * 1024
_PATIENCE = 2.0  # seconds
_SMALL_CHUNK = 256 * 1024
_BATCH = 1024 * 1024
_GATHERING = 0.008  # seconds


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that an upstream has: to connect, to the end of its headers, between two pieces of a body, and in
    total for a small body or for an answer with its redirects and its authentication."""

    connect: float = 5
    headers: float = 15
    stall: float = 20
    total: float = 60


class UpstreamResponse:
    """One answer of whatever status. `close` it when it is not read to its end.

    `received` is told the length of each piece of the body.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, timeouts: Timeouts, received: Callable[[int], None]
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._received = received
        self.status = response.status
        self.url = response.url
        self.headers: CIMultiDictProxy[str] = response.headers
        self.length = response.content_length  # of the body, in bytes
        # The target of a redirect (RFC 9110, section 15.4).
        self.location = self.headers.get("Location") if self.status in _REDIRECTS else None

    @property
    def what(self) -> str:
        """The request, for error texts."""
        return describe(self._response.method, self.url)

    @property
    def www_authenticate(self) -> str:
        return ", ".join(self.headers.getall("WWW-Authenticate", ()))

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The body as it comes in, not decompressed. Raises UpstreamError when it breaks off or stalls."""
        is_large = self.length is not None and self.length >= LARGE
        if is_large and (large := take_over(self._response, self._timeouts.stall)):
            with closing(large):
                while chunk := await self._read(large):
                    yield chunk
            return
        while chunk := await self._read(self._response.content):
            yield chunk
            if len(chunk) < _SMALL_CHUNK:
                await self._let_more_arrive()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamError, also as soon as it is longer than `limit` bytes."""
        if (self.length or 0) > limit:
            raise self._too_long(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.total):
                while chunk := await self._read(self._response.content):
                    body += chunk
                    if len(body) > limit:
                        raise self._too_long(limit)
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"{self.what}: the body did not end within {self._timeouts.total:g} s"
            ) from None
        return bytes(body)

    async def refusal(self, now: float) -> UpstreamError:
        """The error that this answer stands for."""
        said = excerpt(await self._short_body())
        return refusal(self.what, self.status, said, retry_after(self.headers.get("Retry-After"), now))

    async def discard(self) -> None:
        """Have done with it; a short body is read, so that the connection can be used again."""
        try:
            await self._short_body()
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back, or end it when the body was not read to its end."""
        self._response.close()

    async def _read(self, content: LargeBody | aiohttp.StreamReader) -> Chunk:
        try:
            chunk = await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(error) from None
        self._received(len(chunk))
        return chunk

    async def _let_more_arrive(self) -> None:
        """Have the kernel report no less than a batch for a moment.

        A piece costs about the same whatever its size; at 100 MiB/s of small packets this takes off more than half of
        the processor time, with and without TLS. The end of the connection is reported at once all the same.
        """
        connection = self._response.connection  # none any more when the body is complete
        transport = connection.transport if connection else None
        peer = transport.get_extra_info("socket") if transport else None
        if peer is None:
            return
        try:
            set_low_water(peer, _BATCH)
            await asyncio.sleep(_GATHERING)
        finally:
            set_low_water(peer, 1)

    async def _short_body(self) -> bytes:
        """The body where it is short and there at once: what goes with an error or a redirect isn't worth more."""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self.read(_MAX_SHORT_BODY)
        return b""

    def _too_long(self, limit: int) -> UpstreamBrokenError:
        return UpstreamBrokenError(f"{self.what}: the body is longer than the {limit} bytes allowed")

    def _failure(self, error: Exception) -> UpstreamError:
        if isinstance(error, TimeoutError):
            return UpstreamTimeoutError(f"{self.what}: no byte came for {self._timeouts.stall:g} s")
        return UpstreamBrokenError(f"{self.what}: {reason(error)}")
