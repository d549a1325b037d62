"""Every fault does what it says, to the requests it was armed for and to no others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.faults import (
    Answer,
    Body,
    Break,
    Corrupt,
    Hang,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Tamper,
    WrongLength,
    too_many_requests,
)
from tests.kit.upstream import SimulatedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IMAGE = images.image(layers=1, layer_size=300_000)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/acme/app/manifests/latest"
BLOB = f"/v2/acme/app/blobs/{LAYER.digest}"


@pytest.fixture
async def upstream() -> AsyncIterator[SimulatedUpstream]:
    async with SimulatedUpstream("plain") as running:
        running.push("acme/app", IMAGE, "latest")
        yield running


async def _get(http: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, bytes]:
    async with http.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("after", [0, 1, 200_000])
async def test_break_ends_the_connection_after_so_many_bytes(
    after: int, upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.arm("blob", Break(after))
    async with http.get(upstream.url + BLOB) as answer:
        assert answer.content_length == LAYER.size
        assert await answer.content.readexactly(after) == LAYER.raw[:after]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readexactly(1)
    await upstream.until(lambda: upstream.requests[-1].finished)
    assert upstream.requests[-1].sent == after
    assert await _get(http, upstream.url + BLOB) == (200, LAYER.raw)


async def test_break_over_tls(http: aiohttp.ClientSession) -> None:
    authority = Authority.create()
    client = authority.client_context()
    async with SimulatedUpstream("plain", tls=authority.server_context("127.0.0.1")) as upstream:
        upstream.push("acme/app", IMAGE)
        async with http.get(upstream.url + BLOB, ssl=client) as answer:
            assert await answer.read() == LAYER.raw
        upstream.arm("blob", Break(200_000))
        async with http.get(upstream.url + BLOB, ssl=client) as answer:
            assert await answer.content.readexactly(200_000) == LAYER.raw[:200_000]
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.readexactly(1)


async def test_stall_holds_until_released(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    armed = upstream.arm("blob", Stall(1000))
    async with http.get(upstream.url + BLOB) as answer:
        assert len(await answer.content.readexactly(1000)) == 1000
        await armed.reached.wait()
        assert upstream.requests[-1].sent == 1000
        armed.release()
        assert await answer.read() == LAYER.raw[1000:]


async def test_gate_holds_every_matching_transfer_and_opens_on_leaving(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    async with (
        asyncio.TaskGroup() as group,
        upstream.gate("blob", after=5000, reference=LAYER.digest) as gate,
    ):
        tasks = [group.create_task(_get(http, upstream.url + BLOB)) for _ in range(3)]
        await upstream.until(lambda: [each.sent for each in upstream.requests] == [5000] * 3)
        assert gate.reached.is_set()
        assert await _get(http, upstream.url + MANIFEST) == (200, IMAGE.raw)
    assert [task.result() for task in tasks] == [(200, LAYER.raw)] * 3


async def test_gate_and_break_act_together(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", Break(2000))
    async with upstream.gate("blob", after=1000) as gate, http.get(upstream.url + BLOB) as answer:
        assert len(await answer.content.readexactly(1000)) == 1000
        gate.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    await upstream.until(lambda: upstream.requests[-1].finished)
    assert upstream.requests[-1].sent == 2000


async def test_corrupt_flips_one_byte(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", Corrupt(-1))
    status, body = await _get(http, upstream.url + BLOB)
    assert (status, body[:-1], body[-1]) == (200, LAYER.raw[:-1], LAYER.raw[-1] ^ 0xFF)


async def test_content_length_too_long_ends_early(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.arm("blob", WrongLength(10))
    async with http.get(upstream.url + BLOB) as answer:
        assert answer.content_length == LAYER.size + 10
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_content_length_too_short_cuts_the_body(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.arm("blob", WrongLength(-10))
    assert await _get(http, upstream.url + BLOB) == (200, LAYER.raw[:-10])


async def test_answer_with_a_registry_error(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("manifest", Answer(status=503, code="UNAVAILABLE"), times=2)
    statuses = [(await _get(http, upstream.url + MANIFEST))[0] for _ in range(3)]
    assert statuses == [503, 503, 200]


@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2026 07:28:00 GMT"])
@pytest.mark.parametrize("plain", [False, True])
async def test_too_many_requests_says_when_to_retry(
    retry_after: str, plain: bool, upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.arm("manifest", too_many_requests(retry_after, plain=plain))
    async with http.get(upstream.url + MANIFEST) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, retry_after)
        assert (b"TOOMANYREQUESTS" in await answer.read()) is not plain


async def test_hang_sends_nothing_until_released(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    armed = upstream.arm("manifest", Hang())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_get(http, upstream.url + MANIFEST))
        await armed.reached.wait()
        assert upstream.requests[-1].status == 0
        armed.release()
    assert task.result() == (200, IMAGE.raw)


async def test_a_client_that_gives_up_ends_the_hanging_request(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.arm("manifest", Hang())
    task = asyncio.ensure_future(_get(http, upstream.url + MANIFEST))
    await upstream.until(lambda: len(upstream.requests) == 1)
    task.cancel()
    await upstream.until(lambda: upstream.requests[0].finished)


async def test_reset_instead_of_an_answer(upstream: SimulatedUpstream) -> None:
    upstream.arm("manifest", Reset())
    reader, writer = await asyncio.open_connection(*upstream.host.split(":"))
    writer.write(f"GET {MANIFEST} HTTP/1.1\r\nHost: {upstream.host}\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_redirect_to_an_address(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", Redirect("http://169.254.169.254/latest"))
    async with http.get(upstream.url + BLOB, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://169.254.169.254/latest")


async def test_redirect_loop(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", Redirect(), times=None)
    with pytest.raises(aiohttp.TooManyRedirects):
        await http.get(upstream.url + BLOB)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_headers_are_replaced_and_removed(
    method: str, upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    false = {"Docker-Content-Digest": f"sha256:{'0' * 64}", "Content-Type": "text/html"}
    upstream.arm("manifest", Tamper(headers=false, remove=("Content-Length", "ETag")))
    async with http.request(method, upstream.url + MANIFEST) as answer:
        assert {name: answer.headers[name] for name in false} == false
        assert not {"Content-Length", "ETag"} & set(answer.headers)
        assert await answer.read() == (IMAGE.raw if method == "GET" else b"")


async def test_body_is_replaced(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("manifest", Body(b"garbage"))
    assert await _get(http, upstream.url + MANIFEST) == (200, b"garbage")


async def test_range_is_ignored(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", IgnoreRange())
    assert await _get(http, upstream.url + BLOB, Range="bytes=10-19") == (200, LAYER.raw)
    assert await _get(http, upstream.url + BLOB, Range="bytes=10-19") == (206, LAYER.raw[10:20])


async def test_content_range_lies(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    upstream.arm("blob", Tamper(headers={"Content-Range": "bytes 0-9/10"}))
    async with http.get(upstream.url + BLOB, headers={"Range": "bytes=10-19"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (206, "bytes 0-9/10")


@pytest.mark.parametrize(
    "fault",
    [too_many_requests(1), Answer(status=502), Body(b"x" * 100_000), Body(b"{")],
    ids=["429", "502", "huge", "garbage"],
)
async def test_token_endpoint_fails_once(fault: Answer | Body, http: aiohttp.ClientSession) -> None:
    async with SimulatedUpstream("dockerhub") as upstream:
        upstream.arm("token", fault)
        first, second = [await _get(http, upstream.gatekeeper.realm) for _ in range(2)]
        assert first != second
        assert second[0] == 200


async def test_faults_hit_only_what_they_were_armed_for(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    armed = upstream.arm("manifest", Answer(status=500), method="GET", reference="other", times=None)
    assert (await _get(http, upstream.url + MANIFEST))[0] == 200
    async with http.head(f"{upstream.url}/v2/acme/app/manifests/other") as answer:
        assert answer.status == 404
    assert (await _get(http, f"{upstream.url}/v2/acme/app/manifests/other"))[0] == 500
    assert armed.hits == 1


async def test_clear_disarms_and_lets_go(upstream: SimulatedUpstream, http: aiohttp.ClientSession) -> None:
    armed = upstream.arm("manifest", Hang(), times=None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_get(http, upstream.url + MANIFEST))
        await armed.reached.wait()
        upstream.faults.clear()
    assert task.result()[0] == 200
    assert (await _get(http, upstream.url + MANIFEST))[0] == 200


async def test_stopped_upstream_refuses_connections_and_comes_back_on_its_port(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    url = upstream.url
    async with upstream.gate("blob", after=1000), http.get(url + BLOB) as answer:
        await answer.content.readexactly(1000)
        await upstream.stop()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await _get(http, url + MANIFEST)
        await upstream.start()
    assert upstream.url == url
    assert await _get(http, url + MANIFEST) == (200, IMAGE.raw)


async def test_pace_limits_the_speed_of_a_body(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.pace.bytes_per_second = 1_000_000
    started = asyncio.get_running_loop().time()
    assert (await _get(http, upstream.url + BLOB))[1] == LAYER.raw
    assert 0.25 < asyncio.get_running_loop().time() - started < 2


async def test_waiting_for_what_does_not_happen_shows_the_log(
    upstream: SimulatedUpstream, http: aiohttp.ClientSession
) -> None:
    await _get(http, upstream.url + MANIFEST)
    with pytest.raises(
        TimeoutError, match=r"registry: GET /v2/acme/app/manifests/latest \[manifest\] -> 200"
    ):
        await upstream.until(lambda: upstream.count("GET", "blob") == 1, seconds=0.01)
