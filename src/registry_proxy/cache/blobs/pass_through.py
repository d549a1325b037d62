"""Bytes that go from upstream to one client without being stored, verified all the same."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from registry_proxy.cache.blobs.fill import Spill
    from registry_proxy.cache.blobs.resumable import ResumableDownload
    from registry_proxy.oci.digest import Digest
    from registry_proxy.upstream.base import Chunk


async def pass_through(
    transfer: ResumableDownload, digest: Digest, spill: Spill, start: int, stop: int
) -> AsyncGenerator[bytes]:
    """The bytes from `start` to `stop`; `spill` is where the stored bytes end, and `start` isn't before it.

    A part that has the blob's last byte needs everything from the spill on, to verify the digest first. Raises
    UpstreamError, also when the digest is wrong.
    """
    size = transfer.size
    assert size is not None, "a blob of unknown size is never begun"
    to_the_end = stop == size
    position = spill.offset if to_the_end else start
    hasher = spill.hasher.copy()
    held: Chunk = b""
    async with aclosing(transfer.chunks(position)) as chunks:
        async for chunk in chunks:
            if to_the_end:
                await asyncio.to_thread(hasher.update, chunk)
            part = chunk[max(0, start - position) : stop - position]
            position += len(chunk)
            if position >= size:
                part, held = part[:-1], part[-1:]
            if part:
                yield bytes(part)
            if position >= stop:
                break
    if to_the_end and hasher.hexdigest() != digest.hex:
        raise UpstreamBrokenError(f"the bytes it sent for {transfer.name} don't have the digest {digest}")
    if held:
        yield bytes(held)
