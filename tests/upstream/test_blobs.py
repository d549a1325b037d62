"""Blobs: from any byte on, through redirects, to their end or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.faults import (
    Answer,
    Break,
    Corrupt,
    Hang,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Tamper,
    WrongLength,
)
from tests.upstream.connecting import HASTY, REPOSITORY, content, stored

from registry_proxy.oci.reference import Digest
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.failures import RedirectRefusedError

if TYPE_CHECKING:
    from tests.kit.upstream import SimulatedUpstream
    from tests.upstream.connecting import Connector

    from registry_proxy.upstream.base import Upstream
    from registry_proxy.upstream.upstream import RegistryUpstream


async def received_of(upstream: Upstream, digest: Digest) -> tuple[bytes, UpstreamError | None]:
    """What came of a blob, and what ended it early."""
    received = bytearray()
    try:
        async with upstream.repository(REPOSITORY).blob(digest) as stream:
            async for chunk in stream.chunks():
                received += chunk
    except UpstreamError as error:
        return bytes(received), error
    return bytes(received), None


async def test_a_blob_can_begin_anywhere(
    upstream: RegistryUpstream, layer: Digest, image: images.Image
) -> None:
    size = image.layers[0].size
    for offset in (1, 1000, size - 1):
        async with upstream.repository(REPOSITORY).blob(layer, offset) as stream:
            assert (stream.offset, stream.size) == (offset, size)
            assert b"".join([chunk async for chunk in stream.chunks()]) == image.layers[0].raw[offset:]


async def test_a_blob_from_its_end_on_is_nothing(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, image: images.Image
) -> None:
    size = image.layers[0].size
    async with upstream.repository(REPOSITORY).blob(layer, size) as stream:
        assert (stream.offset, stream.size) == (size, size)
        assert [chunk async for chunk in stream.chunks()] == []
    assert plain.count() == 1


async def test_an_offset_past_the_end_begins_anew(
    upstream: RegistryUpstream, layer: Digest, image: images.Image
) -> None:
    async with upstream.repository(REPOSITORY).blob(layer, image.layers[0].size + 1) as stream:
        assert (stream.offset, stream.size) == (0, image.layers[0].size)
        assert b"".join([chunk async for chunk in stream.chunks()]) == image.layers[0].raw


async def test_an_ignored_range_begins_at_zero(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, image: images.Image
) -> None:
    plain.arm("blob", IgnoreRange())
    async with upstream.repository(REPOSITORY).blob(layer, 1000) as stream:
        assert (stream.offset, stream.size) == (0, image.layers[0].size)


@pytest.mark.parametrize(
    "header", ["bytes 0-9/300000", "bytes 1001-2000/9999999", "bytes 1000-1100/9999999", "nonsense", ""]
)
async def test_another_range_than_asked_for_is_broken(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, header: str
) -> None:
    plain.arm("blob", Tamper(headers={"Content-Range": header}))
    with pytest.raises(UpstreamBrokenError, match="not the requested range, which begins at byte 1000"):
        await content(upstream, layer, 1000)


async def test_a_transfer_that_breaks_off_keeps_what_came(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, image: images.Image
) -> None:
    plain.arm("blob", Break(after=100_000))
    received, error = await received_of(upstream, layer)
    assert type(error) is UpstreamBrokenError
    assert received == image.layers[0].raw[: len(received)]
    assert await content(upstream, layer, len(received)) == image.layers[0].raw[len(received) :]


async def test_a_transfer_that_stalls_is_a_timeout_after_what_came(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest
) -> None:
    plain.arm("blob", Stall(after=100_000))
    received, error = await received_of(upstream, layer)
    assert len(received) == 100_000
    assert type(error) is UpstreamTimeoutError
    assert "no byte received for 0.8 s" in str(error)


async def test_a_reader_that_takes_its_time_is_no_stall(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    big = images.Content.of("application/octet-stream", images.incompressible(8 << 20))
    plain.contents.repository(REPOSITORY.name).blobs[big.digest] = big
    async with upstream.repository(REPOSITORY).blob(Digest.parse(big.digest)) as stream:
        chunks = stream.chunks()
        received = len(await anext(chunks))
        await asyncio.sleep(2 * HASTY.stall)
        received += sum([len(chunk) async for chunk in chunks])
    assert received == big.size


async def test_few_bytes_are_told_as_they_come(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    """Small pieces are gathered, but not for long, and not the last ones."""
    blob = image.config
    async with (
        plain.gate("blob", after=20) as gate,
        upstream.repository(REPOSITORY).blob(Digest.parse(blob.digest)) as stream,
    ):
        chunks = stream.chunks()
        assert await anext(chunks) == blob.raw[:20]
        gate.release()
        assert b"".join([chunk async for chunk in chunks]) == blob.raw[20:]


async def test_a_length_that_is_too_long_is_broken(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest
) -> None:
    plain.arm("blob", WrongLength(+10))
    with pytest.raises(UpstreamBrokenError, match="the body is incomplete"):
        await content(upstream, layer)


async def test_a_corrupt_body_is_for_the_reader_to_find(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, image: images.Image
) -> None:
    plain.arm("blob", Corrupt(at=5))
    received = await content(upstream, layer)
    assert len(received) == image.layers[0].size
    assert received != image.layers[0].raw


async def test_a_transfer_that_is_left_ends_at_the_upstream(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    big = images.Content.of("application/octet-stream", bytes(32 << 20))
    plain.contents.repository(REPOSITORY.name).blobs[big.digest] = big
    async with upstream.repository(REPOSITORY).blob(Digest.parse(big.digest)) as stream:
        await anext(stream.chunks())
    await plain.until(lambda: plain.requests[-1].finished)
    assert plain.requests[-1].sent < big.size


async def test_redirects_that_lead_in_a_circle_are_refused(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest
) -> None:
    plain.arm("blob", Redirect(), times=None)
    with pytest.raises(RedirectRefusedError, match="loop"):
        await content(upstream, layer)
    assert plain.count() == 1


async def test_five_redirects_are_enough(
    upstream: RegistryUpstream, plain: SimulatedUpstream, layer: Digest, image: images.Image
) -> None:
    def chain(length: int) -> None:
        for number in range(length):
            plain.arm("blob", Redirect(f"/v2/{REPOSITORY}/blobs/{layer}?hop={number}"))

    chain(5)
    assert await content(upstream, layer) == image.layers[0].raw
    chain(6)
    with pytest.raises(RedirectRefusedError, match="more than 5"):
        await content(upstream, layer)


async def test_a_signature_is_in_no_error(
    hub: SimulatedUpstream, connect: Connector, image: images.Image
) -> None:
    layer = stored(hub, image)
    upstream = connect(hub.url, timeouts=HASTY)
    for fault in (
        Answer(status=500),
        Hang(),
        Reset(),
        Break(10),
        Stall(10),
        Redirect(),
        Redirect("ftp://x/"),
    ):
        hub.arm("blob", fault, times=2)
        with pytest.raises(UpstreamError) as caught:
            await content(upstream, layer)
        hub.faults.clear()
        assert "signature" not in str(caught.value)
        assert "?" not in str(caught.value)
