"""Content goes out through a repository only by a link, or by the upstream's word."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Reading, Site, read, together
from tests.kit import images
from tests.kit.faults import Answer, Hang
from tests.kit.waiting import until

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Digest, Repository

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.kit.wire import Kind

    from registry_proxy.upstream.upstream import RegistryUpstream

IMAGE = images.image(layers=1, layer_size=500_000)
BLOB = IMAGE.layers[0]
OTHER = "acme/other"
KINDS: tuple[Kind, ...] = ("blob", "manifest")


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    site.simulated.contents.repository(OTHER)


def naming(image: images.Image) -> images.Content:
    """Return a manifest that names content of another repository, which its own one does not hold."""
    document = {
        "schemaVersion": 2,
        "mediaType": images.OCI_MANIFEST,
        "config": image.config.descriptor(),
        "layers": [each.descriptor() for each in (*image.layers, image.manifest)],
    }
    return images.Content.of(images.OCI_MANIFEST, json.dumps(document).encode())


class TestOtherRepository:
    async def test_cached_content_is_not_served_through_a_repository_without_it(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            for reference in (worker.blob(BLOB.digest, OTHER), worker.manifest(IMAGE.digest, OTHER)):
                with pytest.raises(RegistryError) as caught:
                    await reference
                assert caught.value.code in {ErrorCode.BLOB_UNKNOWN, ErrorCode.MANIFEST_UNKNOWN}
            with pytest.raises(RegistryError):
                await worker.cache.blobs.head(
                    site.upstream.repository(Repository(OTHER)), Digest.parse(BLOB.digest)
                )
            assert not worker.is_linked(BLOB.digest, OTHER)
            assert not worker.is_linked(IMAGE.digest, OTHER)
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_a_denied_repository_is_denied(self, site: Site) -> None:
        site.simulated.push("acme/private", IMAGE, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            site.simulated.arm("blob", Answer(status=403, code="DENIED"), repository="acme/private")
            unauthorized = Answer(status=401, code="UNAUTHORIZED")
            site.simulated.arm("manifest", unauthorized, repository="acme/private", times=None)
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest, "acme/private")
            assert caught.value.code is ErrorCode.DENIED
            with pytest.raises(RegistryError) as caught:
                await worker.manifest(IMAGE.digest, "acme/private")
            assert caught.value.code is ErrorCode.UNAUTHORIZED

    async def test_the_upstreams_word_costs_one_small_request_and_no_transfer(self, site: Site) -> None:
        site.simulated.push(OTHER, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            asked = len(site.simulated.requests)
            served = await worker.blob(BLOB.digest, OTHER)
            assert served.outcome is Outcome.REVALIDATED
            assert await read(served.body) == BLOB.raw
            assert await worker.outcome(BLOB.digest, OTHER) is Outcome.HIT
        [request] = site.simulated.requests[asked:]
        assert request.headers["Range"] == "bytes=0-0"

    async def test_many_who_ask_cause_one_question(self, site: Site) -> None:
        site.simulated.push(OTHER, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            asked = len(site.simulated.requests)
            await together(*(worker.pull(BLOB.digest, OTHER) for _ in range(10)))
            assert len(site.simulated.requests) == asked + 1
            await together(*(worker.manifest(IMAGE.digest, OTHER) for _ in range(10)))
        assert len(site.simulated.requests) == asked + 2

    async def test_a_manifest_that_names_a_blob_costs_one_small_request(self, site: Site) -> None:
        site.simulated.push(OTHER, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            await worker.manifest("latest", OTHER)
            asked = len(site.simulated.requests)
            assert await worker.outcome(BLOB.digest, OTHER) is Outcome.REVALIDATED
            assert await worker.outcome(BLOB.digest, OTHER) is Outcome.HIT
            (probe,) = site.simulated.requests[asked:]
            assert (probe.kind, probe.headers["Range"]) == ("blob", "bytes=0-0")
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_content_that_was_filled_through_a_repository_costs_no_request(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            for each in IMAGE.blobs:
                await worker.store_blob(each.digest)
            asked = len(site.simulated.requests)
            for each in IMAGE.blobs:
                assert await worker.outcome(each.digest) is Outcome.HIT
            assert len(site.simulated.requests) == asked

    async def test_a_manifest_can_not_open_content_of_another_registry(self, site: Site) -> None:
        """Also not in an outage of the registry of the manifest: a mention is no confirmation."""
        elsewhere = await site.simulate()
        evil = naming(IMAGE)
        repository = elsewhere.contents.repository(OTHER)
        repository.manifests[evil.digest] = evil
        repository.tags["latest"] = evil.digest
        other = site.client(elsewhere, "elsewhere.test")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            await worker.manifest("latest", OTHER, upstream=other)
            for fault in (None, Answer(status=503)):
                if fault is not None:
                    elsewhere.arm("blob", fault, times=None)
                    elsewhere.arm("manifest", fault, times=None)
                with pytest.raises(RegistryError):
                    await worker.blob(BLOB.digest, OTHER, upstream=other)
                with pytest.raises(RegistryError):
                    await worker.manifest(IMAGE.digest, OTHER, upstream=other)
            with pytest.raises(RegistryError):
                await worker.cache.blobs.head(other.repository(Repository(OTHER)), Digest.parse(BLOB.digest))

    async def test_a_manifest_head_that_tells_nothing_is_no_permission(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            # It answers HEAD for anything, as a login page or a broken gateway does.
            site.simulated.arm("manifest", Answer(status=200, body=b"hello"), method="HEAD", repository=OTHER)
            with pytest.raises(RegistryError) as caught:
                await worker.manifest(IMAGE.digest, OTHER)
            assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN
            assert not worker.is_linked(IMAGE.digest, OTHER)
            assert not worker.is_linked(BLOB.digest, OTHER)

    async def test_a_tag_does_not_lend_another_repositorys_manifest(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            with pytest.raises(RegistryError) as caught:
                await worker.manifest("latest", OTHER)
            assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN


class TestRunningFill:
    async def test_it_is_not_readable_through_a_repository_without_the_blob(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=1000) as gate:
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(1000)
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest, OTHER)
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
            gate.release()
            assert await reading.whole() == BLOB.raw

    async def test_it_is_joined_through_a_repository_with_the_blob(self, site: Site) -> None:
        site.simulated.push(OTHER, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest", OTHER)
            async with site.simulated.gate("blob", after=1000) as gate:
                first = Reading(await worker.blob(BLOB.digest))
                await first.until(1000)
                second = Reading(await worker.blob(BLOB.digest, OTHER))
                assert second.outcome is Outcome.COLLAPSED
                await second.until(1000)
                gate.release()
                assert await first.whole() == await second.whole() == BLOB.raw
        assert site.simulated.transfers(BLOB.digest) == 1

    async def test_one_of_a_repository_without_the_blob_does_not_fail_others(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            held = site.simulated.arm("blob", Hang(), repository=OTHER)
            wrong = asyncio.create_task(worker.blob(BLOB.digest, OTHER))
            await held.reached.wait()
            right = asyncio.create_task(worker.pull(BLOB.digest))
            await asyncio.sleep(0)
            held.release()
            with pytest.raises(RegistryError):
                await wrong
            assert await right == BLOB.raw

    async def test_two_workers_one_without_access(self, site: Site) -> None:
        async with (
            site.worker() as first,
            site.worker() as second,
            site.simulated.gate("blob", after=1000) as gate,
        ):
            reading = Reading(await first.blob(BLOB.digest))
            await reading.until(1000)
            with pytest.raises(RegistryError) as caught:
                await second.blob(BLOB.digest, OTHER)
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
            gate.release()
            assert await reading.whole() == BLOB.raw


class TestPrivate:
    async def test_private_content_stays_with_those_whose_credentials_may(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        root = tmp_path_factory.mktemp("store")
        async with Site(root) as site:
            hub = await site.simulate("dockerhub")
            hub.add_user("ann", "secret")
            hub.push("acme/private", IMAGE, "latest")
            hub.make_private("acme/private", "ann")
            hub.push("acme/public", images.image(seed=5), "latest")
            ann = site.client(hub, login=("ann", "secret"))
            async with site.worker() as worker:
                await worker.manifest("latest", "acme/private", upstream=ann)
                await worker.store_blob(BLOB.digest, "acme/private", upstream=ann)
                for question in (
                    worker.blob(BLOB.digest, "acme/public", upstream=ann),
                    worker.manifest(IMAGE.digest, "acme/public", upstream=ann),
                ):
                    with pytest.raises(RegistryError) as caught:
                        await question
                    assert caught.value.code in {ErrorCode.BLOB_UNKNOWN, ErrorCode.MANIFEST_UNKNOWN}

    async def test_another_registry_has_its_own_links(self, site: Site) -> None:
        elsewhere = await site.simulate()
        elsewhere.push(REPOSITORY, images.image(seed=5), "latest")
        other = site.client(elsewhere, "elsewhere.test")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest, upstream=other)
            assert caught.value.detail == {"upstream": "elsewhere.test"}
            elsewhere.push(REPOSITORY, IMAGE, "latest")
            assert await worker.pull(BLOB.digest, upstream=other) == BLOB.raw
        assert elsewhere.transfers(BLOB.digest) == 1  # a sample of it


class TestProof:
    """A registry has to prove that it has content which came from another one."""

    @pytest.fixture
    async def other(self, site: Site) -> RegistryUpstream:
        self.elsewhere = await site.simulate()
        return site.client(self.elsewhere, "elsewhere.test")

    async def test_a_blob_takes_a_sample_once(self, site: Site, other: RegistryUpstream) -> None:
        self.elsewhere.push(OTHER, IMAGE, "latest")
        self.elsewhere.push("acme/third", IMAGE, "latest")
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            assert await worker.outcome(BLOB.digest, OTHER, upstream=other) is Outcome.REVALIDATED
            assert await worker.outcome(BLOB.digest, OTHER, upstream=other) is Outcome.HIT
            assert await worker.outcome(BLOB.digest, "acme/third", upstream=other) is Outcome.REVALIDATED
        sample, probe = (each.headers["Range"] for each in self.elsewhere.journal.select("GET", "blob"))
        first, last = (int(number) for number in sample.removeprefix("bytes=").split("-"))
        assert last - first + 1 == 64 * 1024
        assert last < BLOB.size
        assert probe == "bytes=0-0"

    async def test_a_registry_without_ranges_sends_it_whole(self, site: Site) -> None:
        elsewhere = await site.simulate(ranges=False)
        elsewhere.push(OTHER, IMAGE, "latest")
        other = site.client(elsewhere, "elsewhere.test")
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            assert await worker.outcome(BLOB.digest, OTHER, upstream=other) is Outcome.REVALIDATED

    @pytest.mark.parametrize(
        "lie",
        [
            Answer(status=206, body=b"x", headers={"Content-Range": f"bytes 0-0/{BLOB.size}"}),
            Answer(status=206, body=b"x" * 65536, headers={"Content-Range": f"bytes 0-65535/{BLOB.size}"}),
            Answer(status=200, body=b"x" * BLOB.size),
            Answer(status=200, body=b""),
            Answer(status=416, headers={"Content-Range": f"bytes */{BLOB.size}"}),
        ],
        ids=["one byte", "a range", "all of it", "nothing", "an empty blob"],
    )
    async def test_a_claim_is_no_proof(self, site: Site, other: RegistryUpstream, lie: Answer) -> None:
        self.elsewhere.contents.repository(OTHER)
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            self.elsewhere.arm("blob", lie, times=None)
            for _ in range(2):
                with pytest.raises(RegistryError):
                    await worker.blob(BLOB.digest, OTHER, upstream=other)
            with pytest.raises(RegistryError):
                await worker.cache.blobs.head(other.repository(Repository(OTHER)), Digest.parse(BLOB.digest))
            assert not worker.is_linked(BLOB.digest, OTHER, upstream=other)

    @pytest.mark.parametrize("reference", ["latest", IMAGE.digest])
    async def test_a_head_does_not_prove_a_manifest(
        self, site: Site, other: RegistryUpstream, reference: str
    ) -> None:
        own = images.image(seed=8)
        self.elsewhere.push(OTHER, own, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.manifest("latest", OTHER, upstream=other)
            site.now.advance(site.rules.tag_ttl + 1)
            lie = Answer(status=200, headers={"Docker-Content-Digest": IMAGE.digest})
            self.elsewhere.arm("manifest", lie, method="HEAD", times=None)
            with suppress(RegistryError):
                served = await worker.manifest(reference, OTHER, upstream=other)
                assert served.manifest.raw == own.raw
            assert not worker.is_linked(IMAGE.digest, OTHER, upstream=other)

    async def test_a_manifest_that_it_has_is_fetched_once(self, site: Site, other: RegistryUpstream) -> None:
        self.elsewhere.push(OTHER, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            for _ in range(3):
                assert (await worker.manifest(IMAGE.digest, OTHER, upstream=other)).manifest.raw == IMAGE.raw
            assert self.elsewhere.count("GET", "manifest") == 1
            assert self.elsewhere.count("HEAD", "manifest") == 0

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_claim_about_what_is_not_here_yet_opens_nothing_later(
        self, site: Site, other: RegistryUpstream, method: str
    ) -> None:
        """The clients of another registry know the digest before the first pull of the private content."""
        self.elsewhere.contents.repository(OTHER)
        lie = Answer(status=200, body=b"x" * BLOB.size, headers={"Content-Length": str(BLOB.size)})
        self.elsewhere.arm("blob", lie, times=None)
        async with site.worker() as worker:
            if method == "GET":
                with pytest.raises(RegistryError):
                    await worker.pull(BLOB.digest, OTHER, upstream=other)
            else:
                await worker.cache.blobs.head(other.repository(Repository(OTHER)), Digest.parse(BLOB.digest))
            await worker.settled(BLOB.digest)
            await worker.store_blob(BLOB.digest)
            with pytest.raises(RegistryError):
                await worker.blob(BLOB.digest, OTHER, upstream=other)

    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize("has_it", [True, False])
    async def test_a_running_fill_of_another_registry_is_not_joined(
        self, site: Site, other: RegistryUpstream, has_it: bool, workers: int
    ) -> None:
        self.elsewhere.contents.repository(OTHER)
        if has_it:
            self.elsewhere.push(OTHER, IMAGE, "latest")
        else:
            claim = Answer(status=206, body=b"x", headers={"Content-Range": f"bytes 0-0/{BLOB.size}"})
            self.elsewhere.arm("blob", claim, times=None)
        async with (
            site.worker() as worker,
            site.worker() as follower,
            site.simulated.gate("blob", after=1000) as gate,
        ):
            asked = worker if workers == 1 else follower
            first = Reading(await worker.blob(BLOB.digest))
            await first.until(1000)
            second = asyncio.create_task(asked.pull(BLOB.digest, OTHER, upstream=other))
            if workers == 2:
                await until(lambda: follower.cache.fills.running(Digest.parse(BLOB.digest)) is not None)
            gate.release()
            assert await first.whole() == BLOB.raw
            if has_it:
                assert await second == BLOB.raw
                assert self.elsewhere.transfers(BLOB.digest) == 1  # a sample of it
            else:
                with pytest.raises(RegistryError):
                    await second

    async def test_a_leftover_of_another_registry_is_dropped(
        self, site: Site, other: RegistryUpstream
    ) -> None:
        self.elsewhere.contents.repository(OTHER)
        async with site.worker() as worker, site.simulated.gate("blob", after=200_000) as gate:
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(200_000)
            await reading.leave()
            await worker.kill()
            gate.release()
        claim = Answer(
            status=206,
            body=b"x" * (BLOB.size - 200_000),
            headers={"Content-Range": f"bytes 200000-{BLOB.size - 1}/{BLOB.size}"},
        )
        self.elsewhere.arm("blob", claim, times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError):
                await worker.pull(BLOB.digest, OTHER, upstream=other)


class TestWithdrawn:
    async def test_access_counts_until_its_time_is_over(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            site.simulated.arm("blob", Answer(status=403, code="DENIED"), times=None)
            site.simulated.arm("manifest", Answer(status=403, code="DENIED"), times=None)
            site.now.advance(site.rules.access_ttl - 1)
            assert await worker.pull(BLOB.digest) == BLOB.raw
            assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.HIT
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            site.now.advance(2)
            for question in (
                worker.blob(BLOB.digest),
                worker.manifest(IMAGE.digest),
                worker.manifest("latest"),
            ):
                with pytest.raises(RegistryError) as caught:
                    await question
                assert caught.value.code is ErrorCode.DENIED

    @pytest.mark.parametrize("refused", ["blob", "digest", "tag"])
    async def test_what_was_refused_stays_refused_in_an_outage(self, site: Site, refused: str) -> None:
        """Whatever was refused of a repository, and whatever of it is requested: only a confirmation ends it."""
        async with site.worker() as worker:

            def requests() -> dict[str, Coroutine[object, object, object]]:
                return {
                    "blob": worker.outcome(BLOB.digest),
                    "digest": worker.manifest(IMAGE.digest),
                    "tag": worker.manifest("latest"),
                }

            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            site.now.advance(site.rules.access_ttl + 1)
            denials = [
                site.simulated.arm(kind, Answer(status=403, code="DENIED"), times=None) for kind in KINDS
            ]
            for name, request in requests().items():
                if name == refused:
                    with pytest.raises(RegistryError):
                        await request
                else:
                    request.close()
            for denial in denials:
                denial.disarm()
            for status in (503, 429):
                outages = [site.simulated.arm(kind, Answer(status=status), times=None) for kind in KINDS]
                for request in requests().values():
                    with pytest.raises(RegistryError):
                        await request
                for outage in outages:
                    outage.disarm()
            site.monotonic.advance(61)
            assert await worker.outcome(BLOB.digest) is Outcome.REVALIDATED
            assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.REVALIDATED
            for kind in KINDS:
                site.simulated.arm(kind, Answer(status=503), times=None)
            assert await worker.outcome(BLOB.digest) is Outcome.HIT
            assert (await worker.manifest("latest")).outcome is Outcome.STALE

    async def test_access_that_is_still_given_is_confirmed(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.store_blob(BLOB.digest)
            site.now.advance(site.rules.access_ttl + 1)
            assert await worker.outcome(BLOB.digest) is Outcome.REVALIDATED
            assert await worker.outcome(BLOB.digest) is Outcome.HIT

    @pytest.mark.parametrize("keep", [True, False])
    async def test_what_the_upstream_deleted(self, site: Site, keep: bool) -> None:
        rules = dataclasses.replace(site.rules, keep_deleted=keep)
        async with site.worker(rules=rules) as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            site.simulated.contents.repositories[REPOSITORY].blobs.clear()
            site.simulated.contents.repositories[REPOSITORY].manifests.clear()
            site.now.advance(site.rules.access_ttl + 1)
            if keep:
                assert await worker.outcome(BLOB.digest) is Outcome.STALE
                assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.STALE
                return
            for _ in range(2):
                with pytest.raises(RegistryError) as caught:
                    await worker.blob(BLOB.digest)
                assert caught.value.code is ErrorCode.BLOB_UNKNOWN
                with pytest.raises(RegistryError) as caught:
                    await worker.manifest(IMAGE.digest)
                assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN
            assert not worker.is_linked(BLOB.digest)

    async def test_an_outage_withdraws_nothing_and_only_its_first_failure_is_waited_for(
        self, site: Site
    ) -> None:
        site.upstream = site.client(site.simulated, timeouts=HASTY)
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.store_blob(BLOB.digest)
            site.now.advance(site.rules.access_ttl + 1)
            for kind in ("blob", "manifest"):
                site.simulated.arm(kind, Hang(), times=None)
            assert await worker.outcome(BLOB.digest) is Outcome.STALE
            asked = len(site.simulated.requests)
            for _ in range(5):
                # Each of them would wait if it waited for an answer.
                async with asyncio.timeout(0.25):
                    assert await worker.outcome(BLOB.digest) is Outcome.STALE
                    assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.STALE
                    assert (await worker.manifest("latest")).outcome is Outcome.STALE
            assert len(site.simulated.requests) == asked
            # Also when the next try is due, which then runs behind the clients' backs.
            site.monotonic.advance(61)
            async with asyncio.timeout(0.25):
                assert await worker.outcome(BLOB.digest) is Outcome.STALE
            await site.simulated.until(lambda: len(site.simulated.requests) == asked + 1)


class TestHead:
    async def test_a_size_by_the_manifest_takes_a_small_request_until_the_blob_is_stored(
        self, site: Site
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            asked = len(site.simulated.requests)
            for _ in range(2):
                served = await worker.cache.blobs.head(
                    site.upstream.repository(Repository(REPOSITORY)), Digest.parse(BLOB.digest)
                )
                assert (served.size, served.outcome) == (BLOB.size, Outcome.REVALIDATED)
            assert len(site.simulated.requests) == asked + 2
            assert site.simulated.transfers(BLOB.digest) == 0
            assert await worker.pull(BLOB.digest) == BLOB.raw
            await worker.settled(BLOB.digest)
            asked = len(site.simulated.requests)
            served = await worker.cache.blobs.head(
                site.upstream.repository(Repository(REPOSITORY)), Digest.parse(BLOB.digest)
            )
            assert (served.size, served.outcome) == (BLOB.size, Outcome.HIT)
            assert len(site.simulated.requests) == asked

    @pytest.mark.parametrize("ranges", [True, False])
    async def test_an_unknown_one_is_asked_for_without_a_transfer(self, site: Site, ranges: bool) -> None:
        other = await site.simulate(ranges=ranges)
        other.push(REPOSITORY, IMAGE, "latest")
        upstream = site.client(other)
        async with site.worker() as worker:
            served = await worker.cache.blobs.head(
                upstream.repository(Repository(REPOSITORY)), Digest.parse(BLOB.digest)
            )
            assert (served.size, served.outcome) == (BLOB.size, Outcome.UPSTREAM)
            assert not worker.is_stored(BLOB.digest)
