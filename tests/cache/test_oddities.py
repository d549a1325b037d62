"""Content that is odd but right: types and sizes that disagree, and artifacts of older specifications."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site, read
from tests.kit import images
from tests.kit.faults import Answer, Break, Hang, Stall, Tamper, WrongLength
from tests.kit.waiting import until

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import RegistryError
from registry_proxy.oci.reference import Digest, Repository
from registry_proxy.upstream.base import TagQuery

if TYPE_CHECKING:
    from tests.cache.harness import Worker

IMAGE = images.image(layers=1, layer_size=300_000)
BLOB = IMAGE.layers[0]
OTHER = "acme/other"


def misstating(size: int) -> images.Content:
    """A manifest with the right digest and a wrong size of the layer."""
    document = json.loads(IMAGE.raw)
    document["layers"][0]["size"] = size
    return images.Content.of(images.OCI_MANIFEST, json.dumps(document).encode())


def hold(site: Site, repository: str, manifest: images.Content, tag: str = "odd") -> None:
    held = site.simulated.contents.repository(repository)
    held.manifests[manifest.digest] = manifest
    held.blobs |= {each.digest: each for each in IMAGE.blobs}
    held.tags[tag] = manifest.digest


async def head(worker: Worker, repository: str = REPOSITORY) -> int:
    remote = worker.site.upstream.repository(Repository(repository))
    return (await worker.cache.blobs.head(remote, Digest.parse(BLOB.digest))).size


class TestTypes:
    @pytest.mark.parametrize("restarts", [False, True])
    async def test_no_registry_changes_the_type_that_another_ones_content_is_served_with(
        self, site: Site, restarts: bool
    ) -> None:
        document = json.loads(IMAGE.raw)
        del document["mediaType"]
        raw = json.dumps(document).encode()
        elsewhere = await site.simulate()
        other = site.client(elsewhere, "elsewhere.test")
        manifest = images.Content.of(images.OCI_MANIFEST, raw)
        hold(site, REPOSITORY, manifest)
        held = elsewhere.contents.repository(REPOSITORY)
        held.manifests[manifest.digest] = images.Content.of(images.DOCKER_MANIFEST, raw)
        held.tags["odd"] = manifest.digest
        async with site.worker() as first:
            assert (await first.manifest("odd")).manifest.media_type == images.OCI_MANIFEST
            await first.manifest("odd", upstream=other)
            if not restarts:
                assert (await first.manifest("odd")).manifest.media_type == images.OCI_MANIFEST
        async with site.worker() as second:
            for reference in ("odd", manifest.digest):
                assert (await second.manifest(reference)).manifest.media_type == images.OCI_MANIFEST

    async def test_an_index_that_a_registry_sends_as_an_image_is_refused_by_that_registry_alone(
        self, site: Site
    ) -> None:
        index = images.index(IMAGE)
        elsewhere = await site.simulate()
        other = site.client(elsewhere, "elsewhere.test")
        for simulated in (site.simulated, elsewhere):
            simulated.push(REPOSITORY, index, "index")
        elsewhere.arm("manifest", Tamper(headers={"Content-Type": images.OCI_MANIFEST}), times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError, match="contradicts"):
                await worker.manifest("index", upstream=other)
            assert (await worker.manifest("index")).manifest.media_type == images.OCI_INDEX

    @pytest.mark.parametrize(
        "media_type",
        [
            "application/vnd.oci.artifact.manifest.v1+json",
            "application/vnd.cncf.oras.artifact.manifest.v1+json",
        ],
    )
    async def test_artifacts_of_older_specifications_are_pulled_and_listed(
        self, site: Site, media_type: str
    ) -> None:
        document = {
            "mediaType": media_type,
            "artifactType": "application/vnd.example.sbom",
            "blobs": [BLOB.descriptor()],
            "subject": IMAGE.manifest.descriptor(),
        }
        artifact = images.Content.of(media_type, json.dumps(document).encode())
        site.simulated.push(REPOSITORY, IMAGE, "latest")
        hold(site, REPOSITORY, artifact, "sbom")
        async with site.worker() as worker:
            served = await worker.manifest("sbom")
            assert (served.manifest.raw, served.manifest.media_type) == (artifact.raw, media_type)
            assert await worker.pull(BLOB.digest) == BLOB.raw
            remote = site.upstream.repository(Repository(REPOSITORY))
            listed, _ = await worker.cache.referrers.get(
                remote, Digest.parse(IMAGE.digest), "application/vnd.example.sbom"
            )
            assert [each["digest"] for each in json.loads(listed)["manifests"]] == [artifact.digest]
        async with site.worker() as restarted:
            assert (await restarted.manifest(artifact.digest)).manifest.media_type == media_type


class TestSizes:
    @pytest.mark.parametrize("size", [1, BLOB.size - 1, BLOB.size + 1, 10 * BLOB.size, 2**62])
    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_blob_with_another_size_than_its_manifest_states_is_served(
        self, site: Site, caplog: pytest.LogCaptureFixture, size: int, announced: bool
    ) -> None:
        hold(site, REPOSITORY, misstating(size))
        if not announced:
            site.simulated.arm("blob", Tamper(remove=("Content-Length",)), times=None)
        async with site.worker() as worker:
            await worker.manifest("odd")
            if announced:
                served = await worker.blob(BLOB.digest)
                assert served.body.size == BLOB.size
                assert await read(served.body) == BLOB.raw
                assert f"has {BLOB.size} bytes at the registry, but {size} by its manifest" in caplog.text
            else:
                # The size by the manifest is all that a client can be told before the end.
                with pytest.raises(RegistryError, match="pull again"):
                    await worker.pull(BLOB.digest)
            await worker.settled(BLOB.digest)
            assert await worker.pull(BLOB.digest) == BLOB.raw
            assert await head(worker) == BLOB.size
            assert not worker.index.reserved()

    async def test_a_wrong_size_is_not_told_before_the_registry_has_answered(self, site: Site) -> None:
        hold(site, REPOSITORY, misstating(7))
        async with site.worker() as worker:
            await worker.manifest("odd")
            assert [await head(worker) for _ in range(2)] == [BLOB.size] * 2

    @pytest.mark.parametrize("announced", ["by the registry", "by the manifest"])
    async def test_a_fill_is_not_joined_with_another_size(self, site: Site, announced: str) -> None:
        """The first repository's manifest states half the size, which its registry announces too, or is late."""
        half = BLOB.size // 2
        hold(site, OTHER, misstating(half))
        hold(site, REPOSITORY, IMAGE.manifest)
        faults = (WrongLength(half - BLOB.size), Stall(1000)) if announced == "by the registry" else (Hang(),)
        async with site.worker() as worker:
            await worker.manifest("odd", OTHER)
            await worker.manifest("odd")
            armed = site.simulated.arm("blob", *faults, repository=OTHER)
            remote = site.upstream.repository(Repository(OTHER))
            fill, _ = worker.cache.fills.join(remote, Digest.parse(BLOB.digest))
            await armed.reached.wait()
            await fill.wait_started(0)
            assert fill.size == half
            joining = asyncio.create_task(worker.pull(BLOB.digest))
            await until(lambda: worker.is_linked(BLOB.digest))  # its own repository has the blob, too
            armed.release()
            assert await joining == BLOB.raw

    async def test_another_process_does_not_announce_the_size_of_another_repositorys_manifest(
        self, site: Site
    ) -> None:
        hold(site, OTHER, misstating(BLOB.size // 2))
        hold(site, REPOSITORY, IMAGE.manifest)
        armed = site.simulated.arm("blob", Tamper(remove=("Content-Length",)), Stall(1000), repository=OTHER)
        async with site.worker() as first, site.worker() as second:
            await first.manifest("odd", OTHER)
            await second.manifest("odd")
            filling = asyncio.create_task(first.blob(BLOB.digest, OTHER))
            await armed.reached.wait()
            reading = asyncio.create_task(second.pull(BLOB.digest))
            await until(lambda: second.is_reading(BLOB.digest))
            armed.release()
            assert await reading == BLOB.raw
            (await filling).body.close()


TAGS = b'{"name":"library/alpine","tags":["odd"]}'


def coded(raw: bytes, *, announced: bool) -> tuple[Answer, Tamper]:
    """The answer of a reverse proxy that compresses what nobody wanted compressed."""
    answer = Answer(status=200, body=gzip.compress(raw, mtime=0), headers={"Content-Encoding": "gzip"})
    return answer, Tamper(remove=() if announced else ("Content-Length",))


@pytest.mark.parametrize("announced", [True, False])
class TestCoding:
    """Requests say `Accept-Encoding: identity`, which some reverse proxies ignore."""

    @pytest.fixture
    def text(self, site: Site) -> images.Content:
        """A layer that can be compressed."""
        layer = images.Content.of("text/plain", b"a line of text\n" * 10_000)
        site.simulated.push(REPOSITORY, images.compose(images.OCI_MANIFEST, IMAGE.config, [layer]), "text")
        return layer

    async def test_documents_are_decoded(self, site: Site, announced: bool) -> None:
        hold(site, REPOSITORY, IMAGE.manifest)
        site.simulated.arm("manifest", *coded(IMAGE.raw, announced=announced), method="GET", times=None)
        site.simulated.arm("tags", *coded(TAGS, announced=announced))
        site.simulated.arm("referrers", *coded(images.index(IMAGE).raw, announced=announced))
        async with site.worker() as worker:
            for reference in ("odd", IMAGE.digest):
                assert (await worker.manifest(reference)).manifest.raw == IMAGE.raw
            remote = site.upstream.repository(Repository(REPOSITORY))
            assert (await worker.cache.tags.get(remote, TagQuery()))[0].tags == ("odd",)
            listed, _ = await worker.cache.referrers.get(remote, Digest.parse(IMAGE.digest), None)
            assert json.loads(listed)["manifests"][0]["digest"] == IMAGE.digest

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_blob_is_decoded(
        self, site: Site, text: images.Content, announced: bool, known: bool
    ) -> None:
        site.simulated.arm("blob", *coded(text.raw, announced=announced), times=None)
        async with site.worker() as worker:
            if known:
                await worker.manifest("text")
            served = await worker.blob(text.digest)
            assert served.body.size == text.size
            assert await read(served.body) == text.raw
            await worker.settled(text.digest)
            assert worker.is_stored(text.digest)
            # Another registry has to prove that it has the blob.
            elsewhere = await site.simulate()
            other = site.client(elsewhere, "elsewhere.test")
            elsewhere.push(REPOSITORY, IMAGE)
            elsewhere.contents.repository(REPOSITORY).blobs[text.digest] = text
            elsewhere.arm("blob", *coded(text.raw, announced=announced), times=None)
            assert await worker.pull(text.digest, upstream=other) == text.raw

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_blob_that_is_stored_compressed_is_not_decoded(
        self, site: Site, announced: bool, known: bool
    ) -> None:
        """Storage states the coding of layers, because their bytes are gzip."""
        hold(site, REPOSITORY, IMAGE.manifest)
        missing = () if announced else ("Content-Length",)
        stated = Tamper(headers={"Content-Encoding": "gzip"}, remove=missing)
        site.simulated.arm("blob", stated, times=None)
        async with site.worker() as worker:
            if known:
                await worker.manifest("odd")
            assert await worker.pull(BLOB.digest) == BLOB.raw

    async def test_no_other_process_serves_bytes_of_the_wrong_reading(
        self, site: Site, announced: bool
    ) -> None:
        """The first process decodes a layer that is stored compressed, while the second one reads along."""
        hold(site, REPOSITORY, misstating(BLOB.size - 9))
        stated = Tamper(headers={"Content-Encoding": "gzip"}, remove=() if announced else ("Content-Length",))
        site.simulated.arm("blob", stated, times=None)
        async with site.worker() as first, site.worker() as second:
            await first.manifest("odd")
            async with site.simulated.gate("blob", after=200_000) as gate:
                pull = asyncio.create_task(first.pull(BLOB.digest))
                await gate.reached.wait()
                await until(lambda: first.is_reading(BLOB.digest))
                reading = Reading(await second.blob(BLOB.digest))
                await reading.until(100_000)
                gate.disarm()
                assert await pull == BLOB.raw
                with pytest.raises(RegistryError):
                    await reading.whole()
            assert await second.pull(BLOB.digest) == BLOB.raw

    async def test_a_broken_transfer_is_resumed(
        self, site: Site, text: images.Content, announced: bool
    ) -> None:
        answer, tamper = coded(text.raw, announced=announced)
        site.simulated.arm("blob", answer, tamper, Break(len(answer.body) // 2))
        site.simulated.arm("blob", answer, tamper)
        async with site.worker() as worker:
            await worker.manifest("text")
            assert await worker.pull(text.digest) == text.raw

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_bomb_is_an_error_and_leaves_nothing(
        self, site: Site, text: images.Content, announced: bool, known: bool
    ) -> None:
        site.simulated.arm("blob", *coded(bytes(80 << 20), announced=announced), times=None)
        site.simulated.arm("manifest", *coded(bytes(80 << 20), announced=announced), reference="bomb")
        async with site.worker() as worker:
            with pytest.raises(RegistryError, match="gzip of more than the 4194304 bytes"):
                await worker.manifest("bomb")
            if known:
                await worker.manifest("text")
            with pytest.raises(RegistryError):
                await worker.pull(text.digest)
            await worker.settled(text.digest)
            assert not site.files("ingest")
            assert not worker.index.reserved()

    async def test_a_blob_is_passed_through_decoded(
        self, site: Site, text: images.Content, announced: bool
    ) -> None:
        site.simulated.arm("blob", *coded(text.raw, announced=announced), times=None)
        async with site.worker(max_size=1000) as worker:
            await worker.manifest("text")
            served = await worker.blob(text.digest)
            assert served.outcome is Outcome.PASS_THROUGH
            assert await read(served.body) == text.raw
