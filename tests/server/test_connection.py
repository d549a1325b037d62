"""Connections: what is a request, what is refused, in which order it is answered, and when it is over."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit.waiting import until
from tests.server.harness import Edge, Wire, serving

from registry_proxy.server.connection import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit import images

MANIFEST = f"/v2/{REPOSITORY}/manifests/latest"


@pytest.fixture
async def wire(edge: Edge) -> AsyncIterator[Wire]:
    async with await edge.connect() as wire:
        yield wire


class TestKeepAlive:
    async def test_requests_one_after_the_other(self, wire: Wire, image: images.Image) -> None:
        for _ in range(3):
            wire.ask(MANIFEST)
            answer = await wire.answer()
            assert (answer.status, answer.body) == (200, image.raw)
            assert "connection" not in answer.headers

    async def test_pipelined_requests_are_answered_in_order(self, wire: Wire, image: images.Image) -> None:
        layer = image.layers[0]
        targets = [MANIFEST, "/v2/", f"/v2/{REPOSITORY}/blobs/{layer.digest}", "/v2/nothing", MANIFEST] * 10
        for target in targets:
            wire.ask(target)
        answers = [await wire.answer() for _ in targets]
        assert [answer.status for answer in answers] == [200, 200, 200, 404, 200] * 10
        assert [answer.body for answer in answers[::5]] == [image.raw] * 10
        assert [answer.body for answer in answers[2::5]] == [layer.raw] * 10

    async def test_a_request_byte_by_byte(self, wire: Wire, image: images.Image) -> None:
        for byte in f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\n\r\n".encode():
            wire.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await wire.answer()).body == image.raw

    async def test_many_pipelined_requests_and_the_beginning_of_another(self, wire: Wire) -> None:
        # Together they are longer than any one request may be.
        request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 900 + b"\r\n\r\n"
        wire.send(request * 200 + request[:100])
        for _ in range(200):
            assert (await wire.answer()).status == 200
        wire.send(request[100:])
        assert (await wire.answer()).status == 200

    async def test_connection_close_is_kept(self, wire: Wire) -> None:
        wire.ask("/v2/", Connection="close")
        assert (await wire.answer()).headers["connection"] == "close"
        assert await wire.rest() == b""

    async def test_http_1_0_gets_one_answer(self, wire: Wire, image: images.Image) -> None:
        wire.send(f"GET {MANIFEST} HTTP/1.0\r\n\r\n")
        answer = await wire.answer()
        assert (answer.body, answer.headers["connection"]) == (image.raw, "close")
        assert await wire.rest() == b""

    async def test_an_upgrade_is_ignored_and_the_connection_told_to_end(self, wire: Wire) -> None:
        wire.ask("/v2/", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABk")
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await wire.rest() == b""

    async def test_a_client_that_has_said_all_still_gets_its_answers(
        self, wire: Wire, image: images.Image
    ) -> None:
        wire.ask(MANIFEST)
        wire.ask(MANIFEST)
        wire.writer.write_eof()
        assert (await wire.answer()).body == image.raw
        assert (await wire.answer()).body == image.raw
        assert await wire.rest() == b""

    async def test_empty_lines_before_a_request_are_skipped(self, wire: Wire) -> None:
        wire.send(b"\r\n\r\n")
        wire.ask("/v2/")
        assert (await wire.answer()).status == 200


class TestHead:
    @pytest.mark.parametrize(
        "target", [MANIFEST, "/v2/", f"/v2/{REPOSITORY}/tags/list", "/v2/_catalog", "/nowhere"]
    )
    async def test_it_has_the_headers_of_get_and_no_body(self, wire: Wire, target: str) -> None:
        for _ in range(2):  # the second time from memory
            wire.ask(target)
            got = await wire.answer()
            wire.ask(target, "HEAD")
            head = await wire.answer("HEAD")
            assert head.status == got.status
            assert head.headers["content-length"] == str(len(got.body))
            assert head.headers["content-type"] == got.headers["content-type"]
        wire.ask("/v2/")  # nothing is left over of the answers
        assert (await wire.answer()).status == 200

    async def test_of_a_blob(self, wire: Wire, image: images.Image) -> None:
        layer = image.layers[0]
        wire.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}", "HEAD")
        answer = await wire.answer("HEAD")
        assert answer.headers["content-length"] == str(layer.size)
        assert answer.headers["docker-content-digest"] == layer.digest
        assert answer.headers["accept-ranges"] == "bytes"
        assert "cache-status" in answer.headers


REFUSED = {
    "two hosts": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET /v2/ HTTP/1.1\nHost: a\n\n",
    "a bare line feed": b"GET /v2/ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare carriage return": b"GET /v2/ HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "length and encoding": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "a negative length": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n",
    "a folded header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "a space before the colon": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    "a header without a colon": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "NUL in a header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "NUL in the target": b"GET /v2/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "another version": b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n",
    "no version": b"GET /v2/\r\nHost: a\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "an unknown method": b"BREW /v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long target": b"GET /v2/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a very long target": b"GET /v2/" + b"a" * 200_000,
    "a long header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    "an endless header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 400_000,
    "many headers": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "large headers": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 60 + b"\r\n",
}


class TestRefused:
    @pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED.keys())
    async def test_it_is_answered_400_once_and_the_connection_ends(
        self, wire: Wire, request_bytes: bytes
    ) -> None:
        wire.send(request_bytes)
        answer = await wire.answer()
        assert answer.status == 400
        [error] = json.loads(answer.body)["errors"]
        assert error["code"] == "REQUEST_INVALID"
        assert answer.headers["connection"] == "close"
        assert answer.headers["cache-status"].startswith("registry-proxy")
        wire.ask("/v2/")
        assert await wire.rest() == b""

    async def test_what_came_before_it_is_answered(self, wire: Wire, image: images.Image) -> None:
        for _ in range(3):
            wire.ask(MANIFEST)
        wire.send(b"nonsense\r\n\r\n")
        for _ in range(3):
            assert (await wire.answer()).body == image.raw
        assert await wire.rest() == b""

    async def test_smuggled_requests_are_not_answered(self, wire: Wire) -> None:
        inner = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
        outer = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.send(outer + b"0\r\n\r\n" + inner)
        assert (await wire.answer()).headers["connection"] == "close"
        assert await wire.rest() == b""


class TestBodies:
    @pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
    async def test_writes_are_refused_as_unsupported(self, wire: Wire, method: str) -> None:
        wire.ask(f"/v2/{REPOSITORY}/blobs/uploads/", method, Content_Length="1000000")
        answer = await wire.answer()
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        [error] = json.loads(answer.body)["errors"]
        assert error["code"] == "UNSUPPORTED"
        assert answer.headers["connection"] == "close"
        assert "cache-status" in answer.headers

    async def test_a_client_that_is_still_sending_can_read_the_answer(self, edge: Edge) -> None:
        async with await edge.connect() as wire:
            wire.ask("/v2/a/blobs/uploads/", "PUT", Content_Length="50000000")
            wire.send(bytes(5_000_000))
            assert (await wire.answer()).status == 405

    @pytest.mark.slow
    async def test_one_that_never_ends_sending_is_dropped(self, edge: Edge) -> None:
        async with await edge.connect() as wire:
            wire.ask("/v2/a/blobs/uploads/", "PUT", Content_Length="50000000")
            assert (await wire.answer()).status == 405
            assert await wire.rest() == b""
            await until(lambda: not edge.server._connections)

    @pytest.mark.parametrize(
        "body",
        [
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nnonsense",
            b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    async def test_a_get_with_a_body_is_answered_and_is_the_last(
        self, wire: Wire, image: images.Image, body: bytes
    ) -> None:
        for _ in range(2):
            wire.send(f"GET {MANIFEST} HTTP/1.1\r\nHost: a\r\n".encode() + body)
        answer = await wire.answer()
        assert (answer.body, answer.headers["connection"]) == (image.raw, "close")
        assert await wire.rest() == b""

    async def test_connect_is_refused(self, wire: Wire) -> None:
        wire.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        assert (await wire.answer()).status == 405


class TestDeadlines:
    @pytest.fixture
    async def hasty(self, site: Site, image: images.Image) -> AsyncIterator[Edge]:
        """Half a second for headers, one for idleness."""
        site.simulated.push(REPOSITORY, image, "latest")
        limits = Limits(header_timeout=0.5, idle_timeout=1.0)
        async with site.worker() as worker, serving(site, worker, limits=limits) as edge:
            yield edge

    @pytest.mark.parametrize("beginning", [b"", b"\r\n", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX:"])
    async def test_slow_headers_are_dropped(self, hasty: Edge, beginning: bytes) -> None:
        async with await hasty.connect() as wire:
            wire.send(beginning)

            async def drip() -> None:
                while True:
                    wire.send(b"\r\n" if beginning != b"GET" and len(beginning) < 3 else b"y")
                    await asyncio.sleep(0.2)

            dripping = asyncio.create_task(drip())
            assert await wire.rest(4) == b""
            dripping.cancel()

    async def test_idle_ones_are_dropped(self, hasty: Edge) -> None:
        async with await hasty.connect() as wire:
            wire.ask("/v2/")
            assert (await wire.answer()).status == 200
            assert await wire.rest(5) == b""

    async def test_the_beginning_of_a_request_behind_a_slow_answer_has_the_headers_time(
        self, site: Site, image: images.Image
    ) -> None:
        site.simulated.push(REPOSITORY, image, "latest")
        limits = Limits(header_timeout=0.5, idle_timeout=60.0)
        async with (
            site.worker() as worker,
            serving(site, worker, limits=limits) as edge,
            await edge.connect() as wire,
        ):
            async with site.simulated.gate("manifest") as gate:
                wire.ask(MANIFEST)
                wire.send(b"GET /v2/ HTTP/1.1\r\nHost:")
                await gate.reached.wait()
            assert (await wire.answer()).status == 200
            assert await wire.rest(4) == b""

    @pytest.mark.slow
    async def test_a_slow_answer_is_waited_for(self, hasty: Edge, image: images.Image) -> None:
        layer = image.layers[0]
        async with hasty.site.simulated.gate("blob", after=1000) as gate, await hasty.connect() as wire:
            wire.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
            await gate.reached.wait()
            await asyncio.sleep(2.5)  # longer than all limits, and than the sweep's interval
            gate.release()
            assert (await wire.answer()).body == layer.raw
