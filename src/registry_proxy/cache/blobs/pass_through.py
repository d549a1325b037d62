"""Pass-through: bytes from upstream to one client that are not stored. They are verified like stored ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.aio.pools import PARSING
from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from registry_proxy.cache.blobs.checkpoints import Checkpoints
    from registry_proxy.cache.blobs.fill import StoreStopped
    from registry_proxy.cache.blobs.resumable import ResumableDownload
    from registry_proxy.upstream.base import Chunk


async def pass_through(
    download: ResumableDownload, stopped: StoreStopped, checkpoints: Checkpoints, start: int, stop: int
) -> AsyncGenerator[bytes]:
    """Yield the bytes from `start` to `stop`. The stored bytes end at `stopped`, which is not after `start`.

    A part that includes the blob's last byte needs every byte after `stopped`, or after the last checkpoint, to verify
    the digest first. Raise UpstreamError, also if the digest is wrong.
    """
    size = download.size
    assert size is not None, "a pass-through begins once the size is known"
    to_the_end = stop == size
    position, hasher = stopped.offset if to_the_end else start, stopped.hasher.copy()
    if to_the_end and (known := checkpoints.last(download.digest, start)) and known[0] > position:
        position, hasher = known
    last_byte: Chunk = b""
    async with download.open(position) as chunks:
        async for chunk in chunks:
            if to_the_end:
                await PARSING.run(hasher.update, chunk)
            part = chunk[max(0, start - position) : stop - position]
            position += len(chunk)
            if to_the_end and position < size:
                checkpoints.add(download.digest, size, position, hasher)
            if position >= size:
                part, last_byte = part[:-1], part[-1:]
            if part:
                yield bytes(part)
            if position >= stop:
                break
    if to_the_end and hasher.hexdigest() != download.digest.hex:
        checkpoints.forget(download.digest)
        raise UpstreamBrokenError(f"the upstream's bytes for {download} do not match the digest")
    if last_byte:
        yield bytes(last_byte)
