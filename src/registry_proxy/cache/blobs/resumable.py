"""The download of a blob from its registry, resumed when it breaks off."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.policy.retry import RetryState
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamLimitedError, UpstreamTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from registry_proxy.oci.reference import Digest
    from registry_proxy.upstream.base import BlobStream, Chunk, RemoteRepository, UpstreamError

log = logging.getLogger(__name__)

_RETRIED = (UpstreamBrokenError, UpstreamTimeoutError, UpstreamLimitedError)


class WrongSizeError(UpstreamBrokenError):
    """The upstream announces or sends another length than it announced before: a retry cannot help."""


@dataclass(slots=True)
class ResumableDownload:
    """One blob of a remote repository.

    `size` is the blob's size in bytes as soon as the upstream announces it. `stated` is the size by a manifest, which
    can be wrong: the digest decides, as for docker and skopeo.
    """

    remote: RemoteRepository
    digest: Digest
    sleep: Callable[[float], Awaitable[None]]
    size: int | None = None
    stated: int | None = None
    _retries: RetryState = RetryState()  # noqa: RUF009 - immutable

    def __str__(self) -> str:
        return f"{self.remote.source}@{self.digest}"

    @property
    def expected(self) -> int | None:
        """The size that the upstream announced, otherwise the one that a manifest states."""
        return self.stated if self.size is None else self.size

    @property
    def is_misstated(self) -> bool:
        """True if the upstream announced another size than the manifest states."""
        return None not in (self.size, self.stated) and self.size != self.stated

    @asynccontextmanager
    async def open(self, offset: int) -> AsyncIterator[AsyncGenerator[Chunk]]:
        """Connect, and yield the chunks from `offset` to the end of the blob.

        Once it is open the upstream has responded, and `size` is set if it is known before the end. Raise UpstreamError
        if the upstream does not have the blob, sends a wrong length, or sends nothing in several attempts.
        """
        self._retries = RetryState()
        async with AsyncExitStack() as connection:
            stream = await self._connect(connection, offset)
            async with aclosing(self._chunks(connection, stream, offset)) as chunks:
                yield chunks

    async def _connect(self, connection: AsyncExitStack, offset: int) -> BlobStream:
        while True:
            try:
                stream = await connection.enter_async_context(self.remote.blob(self.digest, offset))
                self._check_size(stream)
            except _RETRIED as error:
                await self._pause(connection, offset, error, progressed=False)
            else:
                return stream

    async def _chunks(
        self, connection: AsyncExitStack, stream: BlobStream, offset: int
    ) -> AsyncGenerator[Chunk]:
        while True:
            begin = offset
            try:
                skip = offset - stream.offset  # an upstream that ignores `Range` sends the whole blob
                async for received in stream.chunks():
                    chunk = received[skip:] if skip else received
                    skip = max(0, skip - len(received))
                    offset += len(chunk)
                    if self.size is not None and offset > self.size:
                        raise WrongSizeError(f"the upstream sent more than the {self.size} bytes of {self}")
                    if chunk:
                        yield chunk
                if self.expected is not None and offset < self.expected:
                    raise UpstreamBrokenError(
                        f"the transfer of {self} ended after {offset} of {self.expected} bytes"
                    )
            except _RETRIED as error:
                await self._pause(connection, offset, error, progressed=offset > begin)
                stream = await self._connect(connection, offset)
            else:
                return

    def _check_size(self, stream: BlobStream) -> None:
        if self.size is None:
            self.size = stream.size
            if self.is_misstated:
                log.warning(
                    "%s has %d bytes at the registry, but %d by its manifest. It is served if its digest is right; "
                    "build and push the image again.",
                    self,
                    self.size,
                    self.stated,
                )
        elif stream.size is not None and stream.size != self.size:
            raise WrongSizeError(
                f"the upstream announces {stream.size} bytes for {self}, and announced {self.size} before"
            )

    async def _pause(
        self, connection: AsyncExitStack, offset: int, error: UpstreamError, *, progressed: bool
    ) -> None:
        """Close the connection and wait before the next attempt. Raise `error` if there is none."""
        await connection.aclose()
        self._retries = self._retries.after(progressed=progressed)
        pause = self._retries.wait(error.retry_after if isinstance(error, UpstreamLimitedError) else None)
        # A client waits for the headers until the first byte arrives: retry once quickly, then return the error.
        hopeless = offset == 0 and (self._retries.failures > 1 or not isinstance(error, UpstreamBrokenError))
        if pause is None or hopeless or isinstance(error, WrongSizeError):
            raise error
        log.warning("%s: %s; resuming at byte %d in %.1f s", self, error, offset, pause)
        await self.sleep(pause)
