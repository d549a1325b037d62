"""Bodies in gzip, which no request asks for."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from registry_proxy.upstream.base import CodingError, UpstreamBrokenError
from registry_proxy.upstream.coding import gunzip, gunzip_document, is_gzip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TEXT = b"some text, " * 1000
MIB = 1 << 20


async def pieces(raw: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(raw), size):
        yield raw[at : at + size]


async def decoded(raw: bytes, limit: int = len(TEXT), size: int = 1000) -> bytes:
    return b"".join([bytes(piece) async for piece in gunzip(pieces(raw, size), limit)])


@pytest.mark.parametrize(
    ("header", "expected"),
    [("gzip", True), (" GZIP ", True), ("x-gzip", True), ("", False), ("br", False), ("gzip, gzip", False)],
)
def test_the_coding_is_what_the_header_states(header: str, expected: bool) -> None:
    assert is_gzip(header) is expected


@pytest.mark.parametrize("size", [1, 7, 1000, MIB])
async def test_a_body_is_decoded_whatever_its_pieces_are(size: int) -> None:
    assert await decoded(gzip.compress(TEXT), size=size) == TEXT
    assert await decoded(gzip.compress(b""), size=size) == b""


def test_a_document_is_decoded_or_is_none_in_gzip() -> None:
    assert gunzip_document(gzip.compress(TEXT), len(TEXT)) == TEXT
    assert gunzip_document(TEXT, len(TEXT)) == TEXT


async def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(CodingError, match="more than the 10999 bytes"):
        await decoded(gzip.compress(TEXT), len(TEXT) - 1)
    with pytest.raises(CodingError, match="more than the 10999 bytes"):
        gunzip_document(gzip.compress(TEXT), len(TEXT) - 1)


async def test_a_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(bytes(256 * MIB), 9)
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        with pytest.raises(CodingError):
            gunzip_document(bomb, 4 * MIB)
        size = 0
        async for piece in gunzip(pieces(bomb, len(bomb)), 512 * MIB):
            size += len(piece)
        assert size == 256 * MIB
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [20, -1])
async def test_an_incomplete_body_is_an_error(length: int) -> None:
    raw = gzip.compress(TEXT)[:length]
    with pytest.raises(UpstreamBrokenError, match="incomplete"):
        await decoded(raw)
    with pytest.raises(CodingError, match="incomplete"):
        gunzip_document(raw, len(TEXT))


async def test_a_body_that_is_no_gzip_is_an_error() -> None:
    with pytest.raises(CodingError, match="but is not"):
        await decoded(TEXT)
    damaged = bytearray(gzip.compress(TEXT))
    damaged[15] ^= 0xFF
    with pytest.raises(CodingError, match="but is not"):
        gunzip_document(bytes(damaged), len(TEXT))
