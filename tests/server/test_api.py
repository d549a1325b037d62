"""The registry API over HTTP: content, ranges, conditions, lists, errors, and what every answer tells."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Site
from tests.kit import images
from tests.kit.faults import Answer as Instead
from tests.kit.faults import Body, Fault, Hang, Reset, too_many_requests
from tests.server.conftest import IMAGE
from tests.server.harness import Answer, Edge, serving
from tests.storage.disks import broken

from registry_proxy.observe.counters import NO_REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit.wire import Kind

MANIFEST = f"/v2/{REPOSITORY}/manifests/latest"


@pytest.fixture
def blob(image: images.Image) -> str:
    return f"/v2/{REPOSITORY}/blobs/{image.layers[0].digest}"


def code(answer: Answer) -> str:
    """The code of an error answer, whose form is checked."""
    document = json.loads(answer.body)
    [error] = document["errors"]
    assert set(error) == {"code", "message", "detail"}
    assert error["message"]
    assert answer.headers["content-type"].startswith("application/json")
    return str(error["code"])


class TestManifests:
    @pytest.mark.parametrize("form", ["tag", "digest"])
    async def test_it_comes_byte_for_byte_with_its_headers(
        self, edge: Edge, image: images.Image, form: str
    ) -> None:
        target = MANIFEST if form == "tag" else f"/v2/{REPOSITORY}/manifests/{image.digest}"
        for status in ("fwd=uri-miss; stored", "hit", "hit"):
            answer = await edge.get(target)
            assert answer.status == 200
            assert answer.body == image.raw
            assert answer.headers["content-type"] == image.media_type
            assert answer.headers["docker-content-digest"] == image.digest
            assert answer.headers["etag"] == f'"{image.digest}"'
            assert answer.headers["cache-status"] == f"registry-proxy; {status}"
            assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
            assert "date" in answer.headers
            assert "content-encoding" not in answer.headers

    @pytest.mark.parametrize("made", [images.multi_platform(), images.multi_platform(docker=True)])
    async def test_indexes_with_odd_whitespace_stay_as_they_are(self, edge: Edge, made: images.Index) -> None:
        edge.site.simulated.push("acme/app", made, "latest")
        for _ in range(2):
            answer = await edge.get("/v2/acme/app/manifests/latest")
            assert (answer.body, answer.headers["content-type"]) == (made.raw, made.media_type)

    @pytest.mark.parametrize("made", [images.helm_chart(), images.attestation(images.image().manifest)])
    async def test_artifacts(self, edge: Edge, made: images.Image) -> None:
        edge.site.simulated.push("acme/app", made, "1")
        assert (await edge.get("/v2/acme/app/manifests/1")).body == made.raw
        for part in made.blobs:
            assert (await edge.get(f"/v2/acme/app/blobs/{part.digest}")).body == part.raw

    @pytest.mark.parametrize("condition", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
    async def test_a_client_that_has_it_gets_304(
        self, edge: Edge, image: images.Image, condition: str
    ) -> None:
        for _ in range(2):
            answer = await edge.get(MANIFEST, If_None_Match=condition.format(image.digest))
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["docker-content-digest"] == image.digest
            assert "content-length" not in answer.headers
            assert "cache-status" in answer.headers
        assert (await edge.get(MANIFEST, If_None_Match='"other"')).status == 200

    @pytest.mark.parametrize("kind", ["text/html", "a/b\r\nX-Injected: yes", "a/b\u2028", "", "x" * 5000])
    async def test_a_media_type_from_upstream_never_becomes_a_header_of_another_kind(
        self, edge: Edge, kind: str
    ) -> None:
        hostile = images.compose(kind, images.image().config, [])
        edge.site.simulated.push("acme/app", hostile, "latest")
        answer = await edge.get("/v2/acme/app/manifests/latest")
        assert answer.status in {200, 502}
        assert "x-injected" not in answer.headers

    async def test_query_and_host_are_part_of_what_is_remembered(self, edge: Edge) -> None:
        for _ in range(2):
            assert "oci-namespace" not in (await edge.get(MANIFEST)).headers
            assert (await edge.get(f"{MANIFEST}?ns=registry.test")).headers[
                "oci-namespace"
            ] == "registry.test"


class TestBlobs:
    async def test_a_whole_one(self, edge: Edge, image: images.Image, blob: str) -> None:
        layer = image.layers[0]
        for status in ("fwd=uri-miss; stored", "hit"):
            answer = await edge.get(blob, Accept_Encoding="zstd, gzip, deflate")
            assert answer.headers["cache-status"] == f"registry-proxy; {status}"
            assert (answer.status, answer.body) == (200, layer.raw)
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["docker-content-digest"] == layer.digest
            assert answer.headers["accept-ranges"] == "bytes"
            assert "content-encoding" not in answer.headers
            await edge.worker.settled(layer.digest)

    @pytest.mark.parametrize("state", ["cold", "warm"])
    @pytest.mark.parametrize(
        ("header", "part"),
        [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=100-199", slice(100, 200)),
            ("bytes=100-", slice(100, None)),
            ("bytes=-7", slice(-7, None)),
            ("bytes=-99999999", slice(0, None)),
            ("bytes=5-99999999", slice(5, None)),
            ("BYTES=5-6", slice(5, 7)),
        ],
    )
    async def test_one_range(
        self, edge: Edge, image: images.Image, header: str, part: slice, state: str
    ) -> None:
        layer = image.layers[0]
        if state == "warm":
            await edge.worker.store_blob(layer.digest)
        answer = await edge.get(f"/v2/{REPOSITORY}/blobs/{layer.digest}", Range=header)
        first, stop, _ = part.indices(layer.size)
        assert (answer.status, answer.body) == (206, layer.raw[part])
        assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/{layer.size}"

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "items=0-1",
            "bytes=--1",
        ],
    )
    async def test_a_malformed_range_is_ignored(
        self, edge: Edge, image: images.Image, blob: str, header: str
    ) -> None:
        answer = await edge.get(blob, Range=header)
        assert (answer.status, answer.body) == (200, image.layers[0].raw)

    @pytest.mark.parametrize(
        "header", ["bytes=99999999-", "bytes=-0", "bytes=300000000-300000001", "bytes=5-4"]
    )
    @pytest.mark.parametrize("state", ["cold", "warm"])
    async def test_a_range_without_a_byte(
        self, edge: Edge, image: images.Image, blob: str, header: str, state: str
    ) -> None:
        layer = image.layers[0]
        if state == "warm":
            await edge.worker.store_blob(layer.digest)
        answer = await edge.get(blob, Range=header)
        assert answer.status == 416
        assert answer.headers["content-range"] == f"bytes */{layer.size}"
        assert "cache-status" in answer.headers

    async def test_if_range(self, edge: Edge, image: images.Image, blob: str) -> None:
        layer = image.layers[0]
        same = await edge.get(blob, Range="bytes=0-9", If_Range=f'"{layer.digest}"')
        assert (same.status, same.body) == (206, layer.raw[:10])
        for other in ('"other"', f'W/"{layer.digest}"', "Wed, 21 Oct 2015 07:28:00 GMT"):
            assert (await edge.get(blob, Range="bytes=0-9", If_Range=other)).status == 200

    async def test_a_client_that_has_it_gets_304(self, edge: Edge, image: images.Image, blob: str) -> None:
        for method in ("GET", "HEAD"):
            answer = await edge.get(blob, method, If_None_Match=f'"{image.layers[0].digest}"')
            assert (answer.status, answer.body) == (304, b"")

    async def test_parallel_ranges_of_a_cold_blob(self, edge: Edge, image: images.Image, blob: str) -> None:
        layer = image.layers[0]
        parts = []
        async with edge.site.simulated.gate("blob", after=1000) as gate:
            wires = [await edge.connect() for _ in range(4)]
            for number, wire in enumerate(wires):
                wire.ask(blob, Range=f"bytes={number * 80_000}-{number * 80_000 + 79_999}")
            await gate.reached.wait()
            gate.release()
            for wire in wires:
                parts.append((await wire.answer()).body)
                wire.writer.close()
        assert b"".join(parts) == layer.raw[:320_000]
        assert edge.site.simulated.transfers(layer.digest) == 1

    async def test_a_disk_that_can_not_be_read_fails_one_answer(
        self, edge: Edge, image: images.Image, blob: str
    ) -> None:
        layer = image.layers[0]
        await edge.worker.store_blob(layer.digest)
        with broken("sendfile", errno.EIO):
            async with await edge.connect() as wire:
                wire.ask(blob)
                assert (await wire.head()).status == 200
                assert await wire.rest() == b""
        answer = await edge.get(blob)
        assert answer.body == layer.raw
        assert answer.headers["cache-status"] == "registry-proxy; fwd=uri-miss; stored"

    async def test_a_file_that_is_cut_while_it_is_sent_breaks_off(self, edge: Edge, site: Site) -> None:
        large = images.Content.of("application/octet-stream", images.incompressible(24 << 20))
        site.simulated.contents.repository(REPOSITORY).blobs[large.digest] = large
        await edge.worker.store_blob(large.digest)
        async with await edge.connect() as wire:
            wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
            wire.ask(f"/v2/{REPOSITORY}/blobs/{large.digest}")
            await edge.get("/v2/")  # by now the first answer is under way
            [path] = site.files("blobs")
            os.truncate(path, 20 << 20)
            wire.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert (await wire.head()).status == 200
            assert len(await wire.rest()) < large.size
        assert (await edge.get(f"/v2/{REPOSITORY}/blobs/{large.digest}")).body == large.raw


class TestLists:
    async def test_tags(self, edge: Edge, image: images.Image) -> None:
        edge.site.simulated.push("acme/app", image, "a", "b", "c")
        answer = await edge.get("/v2/acme/app/tags/list")
        assert json.loads(answer.body) == {"name": "acme/app", "tags": ["a", "b", "c"]}
        assert "link" not in answer.headers
        assert answer.headers["cache-status"] == "registry-proxy; fwd=uri-miss"

    async def test_in_an_outage_cached_tags_are_listed_only_on_request(
        self, edge: Edge, image: images.Image
    ) -> None:
        """Most clients do not see that a list is short, so it is an error for them."""
        edge.site.simulated.push("acme/app", image, "a", "b", "c")
        await edge.get("/v2/acme/app/manifests/b")
        edge.site.simulated.arm("tags", Instead(status=503), times=None)
        answer = await edge.get("/v2/acme/app/tags/list")
        assert (answer.status, code(answer)) == (502, "UPSTREAM_BROKEN")
        for accepts in ("max-stale", "no-transform, Max-Stale=3600"):
            answer = await edge.get("/v2/acme/app/tags/list", **{"Cache-Control": accepts})
            assert json.loads(answer.body)["tags"] == ["b"]
            assert "stale" in answer.headers["cache-status"]

    async def test_pages_are_followed_by_their_links(self, edge: Edge, image: images.Image) -> None:
        edge.site.simulated.push("acme/app", image, *"abcde")
        target, seen = "/v2/acme/app/tags/list?n=2&ns=registry.test", []
        while target:
            answer = await edge.get(target)
            seen.append(json.loads(answer.body)["tags"])
            link = answer.headers.get("link", "")
            assert not link or link.endswith('>; rel="next"')
            target = link.partition("<")[2].partition(">")[0]
        assert seen == [["a", "b"], ["c", "d"], ["e"]]

    @pytest.mark.parametrize("path", ["/v2/acme/app/tags/list", "/v2/_catalog"])
    @pytest.mark.parametrize(
        ("n", "status"), [("0", 200), ("999999999", 200), ("-1", 400), ("x", 400), ("1" * 30, 400), ("", 400)]
    )
    async def test_odd_page_sizes(
        self, edge: Edge, image: images.Image, path: str, n: str, status: int
    ) -> None:
        edge.site.simulated.push("acme/app", image, *"abc")
        await edge.get("/v2/acme/app/manifests/a")
        answer = await edge.get(f"{path}?n={n}")
        assert answer.status == status
        if status == 400:
            assert code(answer) == "PAGINATION_NUMBER_INVALID"
        elif n == "0":
            [listed] = [value for value in json.loads(answer.body).values() if isinstance(value, list)]
            assert listed == []
            assert "link" not in answer.headers

    async def test_the_catalog_is_of_what_is_cached(self, edge: Edge, image: images.Image) -> None:
        for name in ("acme/a", "acme/b", "acme/c"):
            edge.site.simulated.push(name, image, "latest")
            await edge.get(f"/v2/{name}/manifests/latest")
        answer = await edge.get("/v2/_catalog?n=2")
        assert json.loads(answer.body) == {"repositories": ["registry.test/acme/a", "registry.test/acme/b"]}
        link = answer.headers["link"].partition("<")[2].partition(">")[0]
        assert json.loads((await edge.get(link)).body) == {"repositories": ["registry.test/acme/c"]}
        answer = await edge.get("/v2/_catalog?ns=registry.test&n=1")
        assert json.loads(answer.body) == {"repositories": ["acme/a"]}
        link = answer.headers["link"].partition("<")[2].partition(">")[0]
        assert json.loads((await edge.get(link)).body) == {"repositories": ["acme/b"]}

    async def test_referrers(self, edge: Edge, image: images.Image) -> None:
        statement = images.attestation(image.manifest)
        edge.site.simulated.push(REPOSITORY, statement)
        target = f"/v2/{REPOSITORY}/referrers/{image.digest}"
        answer = await edge.get(target)
        assert answer.headers["content-type"] == images.OCI_INDEX
        assert [entry["digest"] for entry in json.loads(answer.body)["manifests"]] == [statement.digest]
        assert "oci-filters-applied" not in answer.headers
        answer = await edge.get(f"{target}?artifactType=application%2Fvnd.other")
        assert json.loads(answer.body)["manifests"] == []
        assert answer.headers["oci-filters-applied"] == "artifactType"

    @pytest.mark.parametrize("last", ["%00", "%0d%0aX:y", "a/b", "%c3%a9", "x" * 200])
    async def test_an_odd_last_is_no_header_injection(
        self, edge: Edge, image: images.Image, last: str
    ) -> None:
        edge.site.simulated.push("acme/app", image, *"abcxyz")
        answer = await edge.get(f"/v2/acme/app/tags/list?n=1&last={last}&other={last}")
        assert answer.status == 200
        assert set(answer.headers) >= {"content-type", "date"}
        assert "x" not in answer.headers
        assert (await edge.get(f"/v2/_catalog?n=1&last={last}")).status == 200

    async def test_the_registrys_own_mark_passes_both_ways(self, site: Site, image: images.Image) -> None:
        simulated = await site.simulate(opaque_pages=True)
        simulated.push("acme/app", image, *"abcde")
        site.upstream = site.client(simulated)
        async with site.worker() as worker, serving(site, worker) as edge:
            target, seen = "/v2/acme/app/tags/list?ns=registry.test&n=2", []
            while target:
                answer = await edge.get(target)
                seen.append(json.loads(answer.body)["tags"])
                target = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
                assert not target or "&ns=registry.test" in target
        assert seen == [["a", "b"], ["c", "d"], ["e"]]


class TestErrors:
    @pytest.fixture
    async def edge(self, site: Site, image: images.Image) -> AsyncIterator[Edge]:
        """An upstream that nobody waits for long, but long enough on a busy machine."""
        site.simulated.push(REPOSITORY, image, "latest")
        site.upstream = site.client(site.simulated, timeouts=replace(HASTY, headers=2, total=6))
        async with site.worker() as worker, serving(site, worker) as edge:
            yield edge

    @pytest.mark.parametrize(
        ("fault", "status", "error"),
        [
            (Instead(status=404, code="X"), 404, ""),
            (Instead(status=401, code="X"), 401, "UNAUTHORIZED"),
            (Instead(status=403, code="X"), 403, "DENIED"),
            (too_many_requests(30), 429, "TOOMANYREQUESTS"),
            (Instead(status=500), 502, "UPSTREAM_BROKEN"),
            (Reset(), 502, "UPSTREAM_BROKEN"),
            (Hang(), 504, "UPSTREAM_TIMEOUT"),
        ],
    )
    @pytest.mark.parametrize(
        ("kind", "path", "unknown"),
        [
            ("manifest", "manifests/latest", "MANIFEST_UNKNOWN"),
            ("blob", f"blobs/{IMAGE.layers[0].digest}", "BLOB_UNKNOWN"),
            ("tags", "tags/list", "NAME_UNKNOWN"),
        ],
    )
    async def test_the_upstreams_failure_is_told_honestly(  # noqa: PLR0917
        self, edge: Edge, kind: Kind, path: str, unknown: str, fault: Fault, status: int, error: str
    ) -> None:
        edge.site.simulated.arm(kind, fault, times=None)
        answer = await edge.get(f"/v2/{REPOSITORY}/{path}")
        assert (answer.status, code(answer)) == (status, error or unknown)
        assert answer.headers.get("retry-after") == ("30" if status == 429 else None)
        assert answer.headers["cache-status"].startswith("registry-proxy; ")
        [entry] = json.loads(answer.body)["errors"]
        assert entry["detail"]["upstream"] == "registry.test"
        assert "registry.test" in entry["message"]
        head = await edge.get(f"/v2/{REPOSITORY}/{path}", "HEAD")
        assert head.status == status

    async def test_what_an_upstream_says_is_no_header_injection(self, edge: Edge) -> None:
        said = "evil\r\nX-Injected: yes\r\n\r\n<script>\x1b[31m\u202e"
        edge.site.simulated.arm("manifest", Instead(status=403, code="DENIED", message=said))
        answer = await edge.get(MANIFEST)
        assert (answer.status, code(answer)) == (403, "DENIED")
        assert "x-injected" not in answer.headers
        assert "\x1b" not in answer.reason

    async def test_nonsense_for_a_manifest(self, edge: Edge) -> None:
        edge.site.simulated.arm("manifest", Body(b"\xff\xfe nonsense"))
        assert (await edge.get(MANIFEST)).status == 502

    async def test_a_stale_answer_says_so(self, edge: Edge, image: images.Image) -> None:
        await edge.get(MANIFEST)
        edge.site.now.advance(3600)
        edge.app._responses.clear()  # it goes by the real clock
        edge.site.simulated.arm("manifest", Instead(status=503), times=None)
        for _ in range(2):
            answer = await edge.get(MANIFEST)
            assert (answer.status, answer.body) == (200, image.raw)
            assert answer.headers["cache-status"] == "registry-proxy; hit; detail=stale"
            assert answer.headers["warning"] == '110 registry-proxy "Response is Stale"'

    async def test_every_response_is_observed(self, edge: Edge, image: images.Image) -> None:
        """Also errors: of the upstream, of routing, and of requests that cannot be read."""
        await edge.get(MANIFEST)
        await edge.get(MANIFEST)
        await edge.get("/v2/")
        await edge.get("/v2/unknown.test/acme/app/manifests/latest")
        await edge.get(f"/v2/{REPOSITORY}/manifests/missing")
        edge.site.simulated.arm("manifest", Instead(status=503), times=None)
        for tag in ("a", "b", "c"):
            await edge.get(f"/v2/{REPOSITORY}/manifests/{tag}")
        async with await edge.connect() as wire:
            wire.send("nonsense\r\n\r\n")
            await wire.answer()
        counts = edge.counters.take()
        registry = edge.site.upstream.registry
        assert counts == {
            (registry, "miss"): 1,
            (registry, "hit"): 1,
            (registry, "served"): 2 * len(image.raw),
            (registry, "MANIFEST_UNKNOWN"): 1,
            (registry, "UPSTREAM_BROKEN"): 3,
            (NO_REGISTRY, "NAME_UNKNOWN"): 1,
            (NO_REGISTRY, "REQUEST_INVALID"): 1,
        }
