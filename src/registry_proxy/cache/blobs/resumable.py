"""A blob's bytes from upstream, resumed when they break off."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from registry_proxy.policy.retry import RetryState
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamLimitedError, UpstreamTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from registry_proxy.upstream.base import BlobStream, Chunk, UpstreamError

log = logging.getLogger(__name__)


class ResumableDownload:
    """One blob's way from upstream. `size` is the blob's size in bytes as soon as it is known."""

    def __init__(
        self,
        name: str,
        connect: Callable[[int], AbstractAsyncContextManager[BlobStream]],
        size: int | None,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.name = name
        self.size = size
        self._connect = connect
        self._sleep = sleep

    async def chunks(self, offset: int) -> AsyncGenerator[Chunk]:
        """The bytes from `offset` to the end. The first chunk is empty: it says that the upstream has answered,
        and `size` is known if it ever will be before the end.

        Raises UpstreamError when the upstream doesn't have the blob, sends a wrong length, or brings nothing in several
        attempts.
        """
        attempts = RetryState()
        while True:
            begun_at = offset
            try:
                async with self._connect(offset) as stream, aclosing(self._read(stream, offset)) as chunks:
                    self._check_size(stream)
                    yield b""
                    async for chunk in chunks:
                        offset += len(chunk)
                        yield chunk
                self._check_end(offset)
            except (UpstreamBrokenError, UpstreamTimeoutError, UpstreamLimitedError) as error:
                attempts = attempts.after(progressed=offset > begun_at)
                await self._pause(attempts, offset, error)
            else:
                return

    async def _read(self, stream: BlobStream, offset: int) -> AsyncGenerator[Chunk]:
        skip = offset - stream.offset
        async for chunk in stream.chunks():
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            kept = chunk[skip:] if skip else chunk
            skip = 0
            offset += len(kept)
            if self.size is not None and offset > self.size:
                raise WrongSizeError(f"it sent more than the {self.size} bytes of {self.name}")
            yield kept

    def _check_size(self, stream: BlobStream) -> None:
        if self.size is None:
            self.size = stream.size
        elif stream.size is not None and stream.size != self.size:
            raise WrongSizeError(
                f"it offers {stream.size} bytes for {self.name}, which has {self.size} bytes by its manifest"
            )

    def _check_end(self, offset: int) -> None:
        if self.size is not None and offset < self.size:
            raise UpstreamBrokenError(f"it ended {self.name} after {offset} of {self.size} bytes")

    async def _pause(self, attempts: RetryState, offset: int, error: UpstreamError) -> None:
        # While no byte has come, somebody waits for the headers: one quick second try, then the honest answer.
        hopeless = offset == 0 and (attempts.fruitless > 1 or not isinstance(error, UpstreamBrokenError))
        if attempts.pause is None or hopeless or isinstance(error, WrongSizeError):
            raise error
        log.warning("%s: %s; resuming at byte %d in %.1f s", self.name, error, offset, attempts.pause)
        await self._sleep(attempts.pause)


class WrongSizeError(UpstreamBrokenError):
    """The upstream's length is not the blob's: asking again won't help."""
