"""The download of a blob from its registry, resumed when it breaks off."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.policy.retry import RetryState
from registry_proxy.upstream.base import (
    CodingError,
    UpstreamBrokenError,
    UpstreamLimitedError,
    UpstreamSlowError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from registry_proxy.oci.reference import Digest
    from registry_proxy.upstream.base import BlobStream, Chunk, RemoteRepository, UpstreamError

log = logging.getLogger(__name__)

# In bytes: of a coded body, whose size no manifest states.
_MAX_DECODED = 64 * 1024 * 1024
# In bytes: of a coded body without a known size. Up to this length the digest decides whether it has to be decoded.
_SMALL = 1024 * 1024

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
    _decodes: bool | None = None  # None if the upstream states no coding
    _has_reread: bool = False
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

    @property
    def is_doubtful(self) -> bool:
        """True if only the digest can show whether the size, or the reading of a coded body, is right."""
        return self.is_misstated or (self._decodes is not None and self.size is None)

    def reread(self) -> bool:
        """Read a coded body in the other way from now on. Return False if that is impossible, or was done before."""
        if self._decodes is None or self._has_reread:
            return False
        self._decodes, self._has_reread, self.size = not self._decodes, True, None
        return True

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
                # A part of a coded body can't be decoded.
                begin = 0 if self._decodes else offset
                stream = await connection.enter_async_context(self.remote.blob(self.digest, begin))
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
                async for received in self._read(stream):
                    chunk = received[skip:] if skip else received
                    skip = max(0, skip - len(received))
                    offset += len(chunk)
                    if self.size is not None and offset > self.size:
                        raise WrongSizeError(f"the upstream sent more than the {self.size} bytes of {self}")
                    if chunk:
                        yield chunk
                if not self._decodes and self.expected is not None and offset < self.expected:
                    raise UpstreamBrokenError(
                        f"the transfer of {self} ended after {offset} of {self.expected} bytes"
                    )
            except _RETRIED as error:
                progressed = offset > begin and not isinstance(error, UpstreamSlowError)
                await self._pause(connection, offset, error, progressed=progressed)
                stream = await self._connect(connection, offset)
            else:
                return

    def _read(self, stream: BlobStream) -> AsyncIterator[Chunk]:
        if self._decodes and stream.is_coded:
            return stream.decoded(_MAX_DECODED if self.expected is None else self.expected)
        return stream.chunks()

    def _check_size(self, stream: BlobStream) -> None:
        if stream.is_coded and self._decodes is None:
            # Storage states the coding of layers that are stored compressed. Reverse proxies compress on the way, and
            # mostly send no length then.
            self._decodes = stream.size is None or self.expected not in (None, stream.size)
        if self._decodes or (self._decodes is False and self.expected is None and _is_small(stream)):
            return
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
        if pause is None or hopeless or isinstance(error, WrongSizeError | CodingError):
            raise error
        log.warning("%s: %s; resuming at byte %d in %.1f s", self, error, offset, pause)
        await self.sleep(pause)


def _is_small(stream: BlobStream) -> bool:
    return stream.size is not None and stream.size <= _SMALL
