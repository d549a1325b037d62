"""Removal of the content coding gzip (RFC 9110, section 8.4.1.3), with a limit for each step.

Requests exclude all codings, but some reverse proxies in front of a registry compress responses nevertheless.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import PARSING
from registry_proxy.upstream.base import CodingError, UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from registry_proxy.upstream.base import Chunk

_GZIP = zlib.MAX_WBITS | 16
_MAGIC = b"\x1f\x8b"
# In bytes. A few bytes of gzip can stand for a thousand times as many.
_PIECE = 1024 * 1024


def is_gzip(content_encoding: str) -> bool:
    """Return whether a `Content-Encoding` is gzip alone."""
    return content_encoding.strip().lower() in ("gzip", "x-gzip")


def gunzip_document(raw: bytes, limit: int) -> bytes:
    """Return the document that was sent as gzip, or `raw` if it is none. Raise CodingError."""
    if not raw.startswith(_MAGIC):
        return raw
    decoder = zlib.decompressobj(_GZIP)
    try:
        document = decoder.decompress(raw, limit + 1)
    except zlib.error as error:
        raise CodingError(f"the body was sent as gzip, but is not: {error}") from None
    if len(document) > limit:
        raise CodingError(f"the body is gzip of more than the {limit} bytes allowed")
    if not decoder.eof:
        raise CodingError("the body was sent as gzip, and is incomplete")
    return document


async def gunzip(chunks: AsyncIterator[Chunk], limit: int) -> AsyncIterator[Chunk]:
    """Yield the decoded body, in pieces of at most 1 MiB. Raise UpstreamError, also after more than `limit` bytes."""
    decoder, size = zlib.decompressobj(_GZIP), 0
    async for chunk in chunks:
        rest: Chunk = chunk
        while rest and not decoder.eof:
            try:
                piece = await PARSING.run(decoder.decompress, rest, _PIECE)
            except zlib.error as error:
                raise CodingError(f"the body was sent as gzip, but is not: {error}") from None
            rest = decoder.unconsumed_tail
            size += len(piece)
            if size > limit:
                raise CodingError(f"the body is gzip of more than the {limit} bytes expected")
            if piece:
                yield piece
    if not decoder.eof:
        raise UpstreamBrokenError("the body was sent as gzip, and is incomplete")
