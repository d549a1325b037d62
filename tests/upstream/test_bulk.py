"""Large bodies, whose connections are taken over from aiohttp, plain and with TLS."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import descriptors
from tests.kit import images
from tests.kit.faults import Break, Corrupt, IgnoreRange, Stall, Tamper, WrongLength
from tests.kit.upstream import SimulatedUpstream
from tests.kit.waiting import until
from tests.upstream.connecting import REPOSITORY, Connector

from registry_proxy.oci.reference import Digest
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from registry_proxy.upstream.bulk import BUFFER_SIZE, LARGE, Buffers
from registry_proxy.upstream.response import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit.certificates import Authority

    from registry_proxy.upstream.base import Chunk
    from registry_proxy.upstream.upstream import RegistryUpstream

_SIZE = LARGE + 5_000_001
_LATE = LARGE - 123
_STALL = 0.4
_MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def blob() -> images.Content:
    return images.Content.of("application/octet-stream", images.incompressible(_SIZE))


@pytest.fixture(scope="module")
def digest(blob: images.Content) -> Digest:
    return Digest.parse(blob.digest)


@pytest.fixture(params=["plain", "tls"])
async def simulated(
    request: pytest.FixtureRequest, authority: Authority, blob: images.Content
) -> AsyncIterator[SimulatedUpstream]:
    tls = authority.server_context("127.0.0.1") if request.param == "tls" else None
    async with SimulatedUpstream("plain", tls=tls) as simulated:
        simulated.contents.repository(REPOSITORY.name).blobs[blob.digest] = blob
        yield simulated


@pytest.fixture
async def upstream(
    connect: Connector, simulated: SimulatedUpstream, authority: Authority
) -> RegistryUpstream:
    timeouts = Timeouts(stall=_STALL)
    return connect(simulated.url, timeouts=timeouts, ssl_context=authority.client_context())


async def received(
    upstream: RegistryUpstream, digest: Digest, offset: int = 0
) -> tuple[list[Chunk], UpstreamError | None]:
    """All pieces of a blob, each as it came, and what ended it early."""
    pieces: list[Chunk] = []
    try:
        async with upstream.repository(REPOSITORY).blob(digest, offset) as stream:
            async for chunk in stream.chunks():
                pieces.append(chunk)  # noqa: PERF401 (what came before an error counts)
    except UpstreamError as error:
        return pieces, error
    return pieces, None


@asynccontextmanager
async def serving(authority: Authority, answer: bytes) -> AsyncIterator[str]:
    """An upstream over TLS that sends just this, and afterwards neither reads nor closes."""

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        writers.append(writer)
        writer.write(answer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(
        send, "127.0.0.1", 0, ssl=authority.server_context("127.0.0.1")
    ) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.transport.abort()


async def test_pieces_stay_as_they_are_when_all_are_kept(
    upstream: RegistryUpstream, digest: Digest, blob: images.Content
) -> None:
    pieces, error = await received(upstream, digest)
    assert error is None
    assert b"".join(pieces) == blob.raw
    assert max(map(len, pieces)) == BUFFER_SIZE


async def test_a_slow_reader_is_no_stall_and_costs_little_memory(
    upstream: RegistryUpstream, digest: Digest, blob: images.Content
) -> None:
    async with upstream.repository(REPOSITORY).blob(digest) as stream:
        chunks = stream.chunks()
        tracemalloc.start()
        try:
            count = len(await anext(chunks))
            await asyncio.sleep(2 * _STALL)
            assert tracemalloc.get_traced_memory()[0] < 3 * BUFFER_SIZE
        finally:
            tracemalloc.stop()
        count += sum([len(chunk) async for chunk in chunks])
    assert count == blob.size


async def test_what_comes_slowly_is_told_soon(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    for after in (20, BUFFER_SIZE + 20, _SIZE - 5000):
        async with (
            simulated.gate("blob", after=after),
            upstream.repository(REPOSITORY).blob(digest) as stream,
            asyncio.timeout(10),
        ):
            beginning = b""
            async for chunk in stream.chunks():
                beginning += chunk
                if len(beginning) == after:
                    break
            assert beginning == blob.raw[:after]


async def test_one_that_breaks_off_keeps_what_came_and_can_go_on(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    simulated.arm("blob", Break(after=_LATE))
    pieces, error = await received(upstream, digest)
    assert type(error) is UpstreamBrokenError
    assert str(error).endswith("the body is incomplete")
    beginning = b"".join(pieces)
    assert _MEBIBYTE < len(beginning) <= _LATE
    assert beginning == blob.raw[: len(beginning)]
    rest, error = await received(upstream, digest, len(beginning))
    assert error is None
    assert b"".join(rest) == blob.raw[len(beginning) :]


async def test_one_that_stalls_is_a_timeout_after_what_came(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    simulated.arm("blob", Stall(after=_LATE))
    pieces, error = await received(upstream, digest)
    assert b"".join(pieces) == blob.raw[:_LATE]
    assert type(error) is UpstreamTimeoutError
    assert "no byte received for 0.4 s" in str(error)


async def test_one_that_ends_before_its_length_is_broken(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    simulated.arm("blob", WrongLength(+10))
    pieces, error = await received(upstream, digest)
    assert b"".join(pieces) == blob.raw
    assert type(error) is UpstreamBrokenError


async def test_what_comes_after_its_length_is_no_part_of_it(
    connect: Connector, authority: Authority, blob: images.Content, digest: Digest
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode()
    async with serving(authority, head + blob.raw) as url:
        upstream = connect(url, ssl_context=authority.client_context())
        pieces, error = await received(upstream, digest)
    assert error is None
    assert b"".join(pieces) == blob.raw[:LARGE]


async def test_an_upstream_that_reads_nothing_does_not_hold_its_connection(
    connect: Connector, authority: Authority, blob: images.Content, digest: Digest
) -> None:
    """TLS has a polite way to part, for which one could wait long."""
    before = len(descriptors())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {blob.size}\r\n\r\n".encode()
    async with serving(authority, head + blob.raw) as url:
        await received(connect(url, ssl_context=authority.client_context()), digest)
        await until(lambda: len(descriptors()) == before + 2)  # it listens, and has its end of the connection


async def test_a_corrupt_one_is_for_the_reader_to_find(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    simulated.arm("blob", Corrupt(at=_LATE))
    body = b"".join((await received(upstream, digest))[0])
    assert (len(body), body[:_LATE]) == (blob.size, blob.raw[:_LATE])
    assert body[_LATE] == blob.raw[_LATE] ^ 0xFF


@pytest.mark.parametrize("is_ignored", [False, True])
async def test_it_can_begin_anywhere(
    upstream: RegistryUpstream,
    simulated: SimulatedUpstream,
    digest: Digest,
    blob: images.Content,
    is_ignored: bool,
) -> None:
    if is_ignored:
        simulated.arm("blob", IgnoreRange())
    async with upstream.repository(REPOSITORY).blob(digest, 1_000_001) as stream:
        assert stream.offset == (0 if is_ignored else 1_000_001)
        body = b"".join([chunk async for chunk in stream.chunks()])
    assert body == blob.raw[stream.offset :]


async def test_one_without_a_length_is_left_to_aiohttp(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, blob: images.Content
) -> None:
    simulated.arm("blob", Tamper(remove=("Content-Length",)))
    pieces, error = await received(upstream, digest)
    assert error is None
    assert b"".join(pieces) == blob.raw
    assert all(isinstance(piece, bytes) for piece in pieces)


@pytest.mark.parametrize("is_stalled", [False, True])
async def test_nothing_is_left_of_one_that_is_cancelled(
    upstream: RegistryUpstream, simulated: SimulatedUpstream, digest: Digest, is_stalled: bool
) -> None:
    before = descriptors(), asyncio.all_tasks()
    if is_stalled:
        simulated.arm("blob", Stall(after=_LATE))
    progress = asyncio.Event()

    async def pull() -> None:
        count = 0
        async with upstream.repository(REPOSITORY).blob(digest) as stream:
            async for chunk in stream.chunks():
                count += len(chunk)
                if count == _LATE or not is_stalled:
                    progress.set()
                    await asyncio.sleep(0)

    task = asyncio.create_task(pull())
    await progress.wait()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await until(lambda: (descriptors(), asyncio.all_tasks()) == before)


async def test_its_connection_ends_with_it(upstream: RegistryUpstream, digest: Digest) -> None:
    before = descriptors()
    await received(upstream, digest)
    await until(lambda: descriptors() == before)


async def test_closing_the_upstream_ends_what_is_under_way(
    upstream: RegistryUpstream, digest: Digest
) -> None:
    async with upstream.repository(REPOSITORY).blob(digest) as stream:
        chunks = stream.chunks()
        await anext(chunks)
        async with asyncio.timeout(5):
            await upstream.close()
            with pytest.raises(UpstreamBrokenError, match="the body is incomplete"):
                _ = [chunk async for chunk in chunks]


def test_a_buffer_is_used_again_as_soon_as_nobody_sees_its_bytes() -> None:
    buffers = Buffers()
    first = buffers.take()
    memory = first.obj
    part = first[10:20]
    first.release()
    assert buffers.take().obj is not memory
    part.release()
    again = buffers.take()
    assert again.obj is memory
    assert len(again) == BUFFER_SIZE
