"""What goes wrong at an upstream comes out as the error that it is, and as nothing worse."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.faults import (
    Answer,
    Body,
    Hang,
    Redirect,
    Reset,
    Stall,
    Tamper,
    too_many_requests,
)
from tests.upstream.connecting import LATEST, REPOSITORY, content

from registry_proxy.oci.reference import Digest
from registry_proxy.upstream.base import (
    TagQuery,
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.response import Timeouts

if TYPE_CHECKING:
    from tests.kit.clock import ManualClock
    from tests.kit.upstream import SimulatedUpstream
    from tests.upstream.connecting import Connector

    from registry_proxy.upstream.upstream import RegistryUpstream


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, UpstreamDeniedError),
        (404, UpstreamNotFoundError),
        (500, UpstreamBrokenError),
        (502, UpstreamBrokenError),
        (503, UpstreamBrokenError),
        (204, UpstreamBrokenError),
        (307, UpstreamBrokenError),  # and no Location
    ],
)
async def test_every_status_is_the_same_failure_for_every_request(
    upstream: RegistryUpstream,
    plain: SimulatedUpstream,
    layer: Digest,
    status: int,
    expected: type[UpstreamError],
) -> None:
    for kind in ("manifest", "blob", "tags"):
        plain.arm(kind, Answer(status=status, code="X", message="because\n"), times=None)
    for question in (
        upstream.repository(REPOSITORY).manifest(LATEST),
        upstream.repository(REPOSITORY).resolve(LATEST),
        content(upstream, layer),
        upstream.repository(REPOSITORY).probe_blob(layer),
        upstream.repository(REPOSITORY).tags(TagQuery()),
    ):
        with pytest.raises(expected, match=f"returned {status}"):
            await question


async def test_the_upstreams_own_words_are_in_the_error(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("manifest", Answer(status=503, code="UNAVAILABLE", message="back at noon\x1b[2J"))
    with pytest.raises(UpstreamBrokenError) as caught:
        await upstream.repository(REPOSITORY).manifest(LATEST)
    url = f"{plain.url}/v2/library/alpine/manifests/latest"
    assert str(caught.value) == f"GET {url} returned 503 Service Unavailable: back at noon [2J"


@pytest.mark.parametrize(
    ("said", "expected"), [(7, 7), (formatdate(1_000_120, usegmt=True), 120), (None, None), ("soon", None)]
)
@pytest.mark.parametrize("plainly", [True, False])
async def test_a_429_keeps_its_waiting_time(
    upstream: RegistryUpstream,
    plain: SimulatedUpstream,
    clock: ManualClock,
    said: str | int | None,
    expected: int | None,
    plainly: bool,
) -> None:
    assert clock.now == 1_000_000
    plain.arm("manifest", too_many_requests(said, plain=plainly))
    with pytest.raises(UpstreamLimitedError, match=r"Too Many|pull rate limit") as caught:
        await upstream.repository(REPOSITORY).manifest(LATEST)
    assert caught.value.retry_after == expected


async def test_an_odd_head_means_ask_with_get(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    for fault in (
        Tamper(remove=("Docker-Content-Digest",)),
        Tamper(headers={"Docker-Content-Digest": "md5:nonsense"}),
        Answer(status=405),
        Answer(status=501),
    ):
        plain.arm("manifest", fault)
        assert await upstream.repository(REPOSITORY).resolve(LATEST) is None


async def test_a_head_of_a_digest_that_tells_another_one_confirms_nothing(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    plain.arm("manifest", Tamper(headers={"Docker-Content-Digest": str(Digest.of(b"other"))}))
    assert await upstream.repository(REPOSITORY).resolve(Digest.parse(image.digest)) is None


async def test_the_digest_of_a_redirect_itself_is_never_trusted(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    wrong = Tamper(headers={"Docker-Content-Digest": str(Digest.of(b"trap"))})
    target = f"{plain.url}/v2/{REPOSITORY}/manifests/{image.digest}"
    plain.arm("manifest", Redirect(target), wrong, reference="latest")
    assert await upstream.repository(REPOSITORY).resolve(LATEST) == Digest.parse(image.digest)


async def test_manifests_over_4_mib_are_refused_while_they_are_read(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.push(REPOSITORY.name, images.oversized(), "announced")
    raw = b"x" * (64 << 20)
    for fault in (Body(raw), Tamper(remove=("Content-Length",))):
        faults = (fault,) if isinstance(fault, Body) else (fault, Body(raw))
        plain.arm("manifest", *faults)
        with pytest.raises(UpstreamBrokenError, match="longer than the 4194304 bytes allowed"):
            await upstream.repository(REPOSITORY).manifest(LATEST)
    await plain.until(lambda: all(each.finished for each in plain.requests))
    assert max(each.sent for each in plain.requests) < 32 << 20


async def test_a_manifest_of_4_mib_is_read(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    plain.arm("manifest", Body(b"x" * (4 << 20)))
    assert len((await upstream.repository(REPOSITORY).manifest(LATEST)).raw) == 4 << 20


async def test_a_reset_is_tried_again_once_at_most(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("manifest", Reset(), times=None)
    with pytest.raises(UpstreamBrokenError, match="connection"):
        await upstream.repository(REPOSITORY).manifest(LATEST)
    assert plain.count() <= 2


async def test_an_upstream_that_refuses_connections_is_broken(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    await plain.stop()
    with pytest.raises(UpstreamBrokenError, match="can't connect: Connection refused"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_a_name_that_nobody_knows_is_broken(connect: Connector) -> None:
    upstream = connect("http://registry.invalid")
    with pytest.raises(UpstreamBrokenError, match="can't be resolved"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_an_upstream_comes_back(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    await upstream.repository(REPOSITORY).manifest(LATEST)
    await plain.stop()
    with pytest.raises(UpstreamBrokenError):
        await upstream.repository(REPOSITORY).manifest(LATEST)
    await plain.start()
    await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_no_answer_in_time_is_a_timeout(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    plain.arm("manifest", Hang())
    with pytest.raises(UpstreamTimeoutError, match=r"no response within 0\.8 s"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_an_address_that_accepts_nothing_is_a_timeout(connect: Connector, silent_port: int) -> None:
    hasty = Timeouts(connect=0.2, headers=5)
    upstream = connect(f"https://127.0.0.1:{silent_port}", timeouts=hasty)
    with pytest.raises(UpstreamTimeoutError, match=r"no connection within 0\.2 s"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_hop_by_hop_delays_end_in_one_timeout(
    connect: Connector, plain: SimulatedUpstream, layer: Digest
) -> None:
    upstream = connect(plain.url, timeouts=Timeouts(headers=5, total=0.2))
    plain.arm("blob", Hang())
    with pytest.raises(UpstreamTimeoutError, match="redirects and login included"):
        await content(upstream, layer)


async def test_a_manifest_that_stalls_is_a_timeout(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("manifest", Stall(10))
    with pytest.raises(UpstreamTimeoutError, match=r"no byte received for 0\.8 s"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_a_manifest_that_drips_is_a_timeout(
    connect: Connector, plain: SimulatedUpstream, layer: Digest
) -> None:
    upstream = connect(plain.url, timeouts=Timeouts(total=0.3))
    plain.arm("manifest", Stall(10))
    with pytest.raises(UpstreamTimeoutError, match=r"did not end within 0\.3 s"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_an_error_whose_explanation_never_comes_is_told_without(
    connect: Connector, plain: SimulatedUpstream, layer: Digest
) -> None:
    upstream = connect(plain.url, timeouts=Timeouts(stall=0.1))
    plain.arm("manifest", Answer(status=503, body=b"12345"), Stall(1))
    with pytest.raises(UpstreamBrokenError, match=r"503 Service Unavailable$"):
        await upstream.repository(REPOSITORY).manifest(LATEST)


async def test_what_is_no_http_is_broken(connect: Connector) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-secret\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamBrokenError, match="not valid HTTP"):
            await connect(f"http://127.0.0.1:{port}").repository(REPOSITORY).manifest(LATEST)
