"""Response of an upstream: the head, and a body that is still unread."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from registry_proxy.aio.pools import parse
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamSlowError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.bulk import LARGE, set_low_water, take_over
from registry_proxy.upstream.coding import gunzip_document, is_gzip
from registry_proxy.upstream.failures import describe, error_code, excerpt, reason, refusal, retry_after
from registry_proxy.upstream.pace import Pace
from registry_proxy.upstream.ratelimit import is_account_limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from multidict import CIMultiDictProxy

    from registry_proxy.upstream.base import Chunk
    from registry_proxy.upstream.bulk import LargeBody

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_SHORT_BODY = 16 * 1024
_SHORT_BODY_TIMEOUT = 2.0  # seconds
_SMALL_CHUNK = 256 * 1024
_BATCH = 1024 * 1024
_GATHER_TIME = 0.008  # seconds


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of an upstream, in seconds.

    `connect` is for the connection, `headers` for a response's head, `stall` for the time between two pieces of a body.
    `total` is for a small body, and for a response with all redirects and the authentication. Each `period` of waiting
    for the pieces of a large body must bring `least_rate` bytes per second.
    """

    connect: float = 5
    headers: float = 15
    stall: float = 20
    total: float = 60
    period: float = 30
    least_rate: int = 1024


class UpstreamResponse:
    """A response of any status. The caller closes it if the body is not read completely.

    `received` is called with the length of each piece of the body.
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
        self.is_coded = is_gzip(self.headers.get("Content-Encoding", ""))
        # The target of a redirect (RFC 9110, section 15.4).
        self.location = self.headers.get("Location") if self.status in _REDIRECTS else None

    @property
    def request(self) -> str:
        """The request, as text for messages."""
        return describe(self._response.method, self.url)

    @property
    def www_authenticate(self) -> str:
        return ", ".join(self.headers.getall("WWW-Authenticate", ()))

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield the body as it arrives, not decompressed. Raise UpstreamError if it breaks off, stalls or is slow."""
        pace = Pace(self._timeouts.least_rate, self._timeouts.period)
        is_large = self.length is not None and self.length >= LARGE
        if is_large and (large := take_over(self._response, self._timeouts.stall)):
            with closing(large):
                while chunk := await self._read_in_time(large, pace):
                    yield chunk
            return
        gather = False
        while chunk := await self._read_in_time(self._response.content, pace, gather=gather):
            yield chunk
            gather = len(chunk) < _SMALL_CHUNK

    async def read(self, limit: int) -> bytes:
        """Return the whole body, decoded. Raise UpstreamError, also if it is longer than `limit` bytes."""
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
                f"{self.request}: the body did not end within {self._timeouts.total:g} s"
            ) from None
        if not self.is_coded:
            return bytes(body)
        try:
            return await parse(gunzip_document, bytes(body), limit)
        except UpstreamBrokenError as error:
            raise UpstreamBrokenError(f"{self.request}: {error}") from None

    async def refusal(self, now: float) -> UpstreamError:
        """Return the error that this response reports. `now` is in Unix seconds."""
        body = await self._short_body()
        wait = retry_after(self.headers.get("Retry-After"), now)
        error = refusal(self.request, self.status, excerpt(body), wait)
        error.concerns_registry = self.status == 429 and is_account_limit(self.headers, error_code(body))
        return error

    async def discard(self) -> None:
        """Discard the response. Read a short body first, so that the connection can be reused."""
        try:
            await self._short_body()
        finally:
            self.close()

    def close(self) -> None:
        """Return the connection to the pool, or close it if the body was not read completely."""
        self._response.close()

    async def _read_in_time(
        self, content: LargeBody | aiohttp.StreamReader, pace: Pace, *, gather: bool = False
    ) -> Chunk:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if gather:
            await self._let_more_arrive()
        chunk = await self._read(content)
        if pace.is_too_slow(len(chunk), loop.time() - begun) and chunk:
            raise UpstreamSlowError(
                f"{self.request}: less than {self._timeouts.least_rate} bytes per second, "
                "the least that cache.least_rate accepts"
            )
        return chunk

    async def _read(self, content: LargeBody | aiohttp.StreamReader) -> Chunk:
        try:
            chunk = await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(error) from None
        self._received(len(chunk))
        return chunk

    async def _let_more_arrive(self) -> None:
        """Wait until the kernel has received a batch, at most 8 ms.

        A piece costs about the same for any size. At 100 MiB/s of small packets this saves more than half of the
        processor time, with and without TLS. The end of the connection is still reported at once.
        """
        connection = self._response.connection  # None when the body is complete
        transport = connection.transport if connection else None
        peer = transport.get_extra_info("socket") if transport else None
        if peer is None:
            return
        try:
            set_low_water(peer, _BATCH)
            await asyncio.sleep(_GATHER_TIME)
        finally:
            set_low_water(peer, 1)

    async def _short_body(self) -> bytes:
        """Return a short body, or nothing if it is too long or too slow: an error is not worth a longer wait."""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_SHORT_BODY_TIMEOUT):
                return await self.read(_MAX_SHORT_BODY)
        return b""

    def _too_long(self, limit: int) -> UpstreamBrokenError:
        return UpstreamBrokenError(f"{self.request}: the body is longer than the {limit} bytes allowed")

    def _failure(self, error: Exception) -> UpstreamError:
        if isinstance(error, TimeoutError):
            return UpstreamTimeoutError(f"{self.request}: no byte received for {self._timeouts.stall:g} s")
        return UpstreamBrokenError(f"{self.request}: {reason(error)}")
