"""Tags: fresh, confirmed, moved, stale; and the breaker that keeps an outage from slowing down what is cached."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Site, together
from tests.kit import images
from tests.kit.faults import Answer, Body, Corrupt, Fault, Hang, Redirect, Reset, Tamper, too_many_requests
from tests.kit.waiting import until

from registry_proxy.cache.failures import DEFAULT_RETRY_AFTER
from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError

IMAGE, NEWER = images.image(), images.image(seed=1)

OUTAGES: dict[str, Fault] = {
    "reset": Reset(),
    "hang": Hang(),
    "500": Answer(status=500),
    "503": Answer(status=503, body=b"<html>"),
    "429": too_many_requests(30),
    "plain 429": too_many_requests(plain=True),
    "redirect loop": Redirect(),
    "redirect to where we do not go": Redirect("http://[fd00:ec2::254]/latest/meta-data"),
}


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    site.upstream = site.client(site.simulated, timeouts=HASTY)


def asked(site: Site, since: int = 0) -> list[str]:
    """The methods of the requests for manifests."""
    return [request.method for request in site.simulated.requests[since:] if request.kind == "manifest"]


class TestTags:
    async def test_a_fresh_tag_takes_no_request(self, site: Site) -> None:
        async with site.worker() as worker:
            assert (await worker.manifest("latest")).outcome is Outcome.MISS
            site.now.advance(site.rules.tag_ttl - 1)
            served = await worker.manifest("latest")
            assert served.outcome is Outcome.HIT
            assert served.manifest.raw == IMAGE.raw
            assert served.fresh_until == pytest.approx(site.now() + 1)
        assert asked(site) == ["GET"]

    async def test_the_first_response_and_a_confirmed_one_are_repeated_from_memory_while_fresh(
        self, site: Site
    ) -> None:
        async with site.worker() as worker:
            for outcome in (Outcome.MISS, Outcome.REVALIDATED):
                served = await worker.manifest("latest")
                assert served.outcome is outcome
                assert (served.fresh_from, served.fresh_until) == (
                    site.now(),
                    site.now() + site.rules.tag_ttl,
                )
                site.now.advance(site.rules.tag_ttl)

    async def test_an_expired_tag_costs_a_head(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            for _ in range(2):
                site.now.advance(site.rules.tag_ttl)
                assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
                assert (await worker.manifest("latest")).outcome is Outcome.HIT
        assert asked(site) == ["GET", "HEAD", "HEAD"]

    async def test_a_moved_tag_is_fetched_by_digest(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.simulated.push(REPOSITORY, NEWER, "latest")
            site.now.advance(site.rules.tag_ttl)
            served = await worker.manifest("latest")
            assert (served.outcome, served.manifest.raw) == (Outcome.MISS, NEWER.raw)
            assert (await worker.manifest("latest")).outcome is Outcome.HIT
        assert site.simulated.count("GET", "manifest", NEWER.digest) == 1

    async def test_a_tag_that_moved_back_costs_a_head(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            for image in (NEWER, IMAGE):
                site.simulated.push(REPOSITORY, image, "latest")
                site.now.advance(site.rules.tag_ttl)
                served = await worker.manifest("latest")
                assert served.manifest.raw == image.raw
        assert asked(site) == ["GET", "HEAD", "GET", "HEAD"]

    async def test_without_a_ttl_each_pull_asks(self, site: Site) -> None:
        rules = dataclasses.replace(site.rules, tag_ttl=0.0)
        async with site.worker(rules=rules) as worker:
            for _ in range(3):
                await worker.manifest("latest")
        assert asked(site) == ["GET", "HEAD", "HEAD"]

    async def test_a_clock_that_was_set_back_makes_nothing_fresh_for_longer(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(-3600)
            assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
            assert (await worker.manifest("latest")).outcome is Outcome.HIT

    async def test_a_head_without_digest_falls_back_on_get(self, site: Site) -> None:
        bare = await site.simulate("ecr-public")
        bare.push(REPOSITORY, IMAGE, "latest")
        upstream = site.client(bare, "bare.test")
        async with site.worker() as worker:
            for _ in range(2):
                assert (await worker.manifest("latest", upstream=upstream)).manifest.raw == IMAGE.raw
                site.now.advance(site.rules.tag_ttl)
        assert [request.method for request in bare.journal.select(kind="manifest", status=200)] == [
            "GET",
            "HEAD",
            "GET",
        ]

    async def test_the_manifest_of_an_evicted_tag_is_fetched_anew(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
        for path in site.files("blobs"):
            path.unlink()
        async with site.worker() as worker:
            assert (await worker.manifest("latest")).manifest.raw == IMAGE.raw

    async def test_digests_never_get_old(self, site: Site) -> None:
        async with site.worker() as worker:
            assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.MISS
            site.now.advance(site.rules.access_ttl - 1)
            assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.HIT
        async with site.worker() as worker:
            assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.HIT
        assert asked(site) == ["GET"]


class TestCoalescing:
    async def test_many_pulls_of_a_new_tag_cause_one_request(self, site: Site) -> None:
        async with site.worker() as worker:
            served = await together(*(worker.manifest("latest") for _ in range(20)))
            assert {each.manifest.raw for each in served} == {IMAGE.raw}
        assert asked(site) == ["GET"]

    async def test_many_pulls_of_an_expired_tag_cause_one_request(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            await together(*(worker.manifest("latest") for _ in range(20)))
        assert asked(site) == ["GET", "HEAD"]

    async def test_many_pulls_of_a_new_digest_cause_one_request(self, site: Site) -> None:
        async with site.worker() as worker:
            await together(*(worker.manifest(IMAGE.digest) for _ in range(20)))
        assert asked(site) == ["GET"]

    @pytest.mark.parametrize("reference", ["latest", IMAGE.digest])
    async def test_two_workers_cause_one_request(self, site: Site, reference: str) -> None:
        async with site.worker() as first, site.worker() as second:
            await together(*(worker.manifest(reference) for worker in [first, second] * 10))
        assert asked(site) == ["GET"]

    async def test_two_workers_confirm_an_expired_tag_once(self, site: Site) -> None:
        async with site.worker() as first, site.worker() as second:
            await first.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            await together(*(worker.manifest("latest") for worker in [first, second] * 10))
        assert asked(site) == ["GET", "HEAD"]

    async def test_two_workers_without_a_ttl_share_a_question(self, site: Site) -> None:
        rules = dataclasses.replace(site.rules, tag_ttl=0.0)
        async with site.worker(rules=rules) as first, site.worker(rules=rules) as second:
            await first.manifest("latest")
            site.now.advance(1)
            held = site.simulated.arm("manifest", Hang())
            asking = asyncio.create_task(first.manifest("latest"))
            await held.reached.wait()
            waiting = asyncio.create_task(second.manifest("latest"))
            await asyncio.sleep(0.02)
            held.release()
            assert (await asking).outcome is Outcome.REVALIDATED
            assert (await waiting).outcome is Outcome.REVALIDATED
        assert asked(site) == ["GET", "HEAD"]

    async def test_two_workers_wait_for_a_hanging_upstream_once(self, site: Site) -> None:
        async with site.worker() as first, site.worker() as second:
            await first.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Hang(), times=None)
            async with asyncio.timeout(HASTY.headers * 1.8):
                served = await together(first.manifest("latest"), second.manifest("latest"))
            assert [each.outcome for each in served] == [Outcome.STALE] * 2
        assert asked(site) == ["GET", "HEAD"]

    async def test_one_who_leaves_does_not_end_the_question_of_others(self, site: Site) -> None:
        async with site.worker() as worker:
            held = site.simulated.arm("manifest", Hang())
            leaving = asyncio.create_task(worker.manifest("latest"))
            await held.reached.wait()
            staying = asyncio.create_task(worker.manifest("latest"))
            await asyncio.sleep(0)
            leaving.cancel()
            held.release()
            assert (await staying).manifest.raw == IMAGE.raw
        assert asked(site) == ["GET"]


class TestStale:
    @pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES.keys())
    async def test_a_tag_is_served_stale_in_an_outage(self, site: Site, fault: Fault) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", fault, times=None)
            served = await worker.manifest("latest")
            assert (served.outcome, served.manifest.raw) == (Outcome.STALE, IMAGE.raw)
            site.now.advance(365 * 86400.0)
            assert (await worker.manifest("latest")).outcome is Outcome.STALE

    async def test_a_tag_is_served_stale_when_the_upstream_is_gone(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            await site.simulated.stop()
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            await site.simulated.start()

    @pytest.mark.parametrize("status", [401, 403, 400])
    async def test_a_tag_is_served_stale_when_the_credentials_are_refused(
        self, site: Site, status: int
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=status, code="DENIED"), times=None)
            assert (await worker.manifest("latest")).outcome is Outcome.STALE

    @pytest.mark.parametrize(
        "wrong",
        [
            Body(b"not json"),
            Corrupt(5),
            Body(b"x" * (4 * 1024 * 1024 + 1)),
            Tamper(headers={"Content-Type": "x/y"}),
        ],
        ids=["nonsense", "corrupt", "too large", "odd type"],
    )
    async def test_a_moved_tag_with_a_wrong_manifest(self, site: Site, wrong: Fault) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.simulated.push(REPOSITORY, NEWER, "latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", wrong, method="GET", times=None)
            served = await worker.manifest("latest")
            if isinstance(wrong, Tamper):
                assert served.manifest.raw == NEWER.raw
                return
            assert (served.outcome, served.manifest.raw) == (Outcome.STALE, IMAGE.raw)
            assert not worker.is_stored(NEWER.digest)

    async def test_after_the_outage_the_tag_is_fresh_again(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=503), times=2)  # the HEAD, and the GET
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            site.simulated.push(REPOSITORY, NEWER, "latest")
            site.monotonic.advance(6)
            served = await worker.manifest("latest")
            assert (served.outcome, served.manifest.raw) == (Outcome.MISS, NEWER.raw)

    async def test_a_slow_answer_after_the_outage_comes_in_behind_the_clients_back(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=503), times=2)  # the HEAD, and the GET
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            site.simulated.push(REPOSITORY, NEWER, "latest")
            site.monotonic.advance(6)
            site.upstream = site.client(site.simulated)
            held = site.simulated.arm("manifest", Hang())
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            held.release()
            await until(lambda: worker.tagged("latest") == NEWER.digest)
            served = await worker.manifest("latest")
            assert (served.outcome, served.manifest.raw) == (Outcome.HIT, NEWER.raw)

    async def test_what_was_deleted_upstream_is_kept(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.contents.repositories[REPOSITORY].tags.clear()
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            assert (await worker.manifest("latest")).outcome is Outcome.STALE

    async def test_what_was_deleted_upstream_is_dropped(self, site: Site) -> None:
        rules = dataclasses.replace(site.rules, keep_deleted=False)
        async with site.worker(rules=rules) as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.contents.repositories[REPOSITORY].tags.clear()
            site.simulated.contents.repositories[REPOSITORY].manifests.clear()
            for reference in ("latest", "latest", IMAGE.digest):
                with pytest.raises(RegistryError) as caught:
                    await worker.manifest(reference)
                assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN


class TestErrors:
    @pytest.mark.parametrize(
        ("fault", "code", "retry_after"),
        [
            (Reset(), ErrorCode.UPSTREAM_BROKEN, None),
            (Answer(status=500), ErrorCode.UPSTREAM_BROKEN, None),
            (Redirect(), ErrorCode.UPSTREAM_BROKEN, None),
            (Hang(), ErrorCode.UPSTREAM_TIMEOUT, None),
            (too_many_requests(30), ErrorCode.TOOMANYREQUESTS, 30),
            (too_many_requests(), ErrorCode.TOOMANYREQUESTS, DEFAULT_RETRY_AFTER),
            (too_many_requests(0), ErrorCode.TOOMANYREQUESTS, 1),
            (too_many_requests("nonsense"), ErrorCode.TOOMANYREQUESTS, DEFAULT_RETRY_AFTER),
            (Answer(status=404, code="MANIFEST_UNKNOWN"), ErrorCode.MANIFEST_UNKNOWN, None),
            (Answer(status=401, code="UNAUTHORIZED"), ErrorCode.UNAUTHORIZED, None),
            (Answer(status=403, code="DENIED"), ErrorCode.DENIED, None),
            (Body(b"nonsense"), ErrorCode.UPSTREAM_BROKEN, None),
            (Corrupt(3), ErrorCode.UPSTREAM_BROKEN, None),
            (Body(b"{" + b" " * (4 * 1024 * 1024) + b"}"), ErrorCode.UPSTREAM_BROKEN, None),
        ],
    )
    @pytest.mark.parametrize("reference", ["latest", IMAGE.digest])
    async def test_without_a_copy_the_error_is_told(
        self, site: Site, reference: str, fault: Fault, code: ErrorCode, retry_after: int | None
    ) -> None:
        site.simulated.arm("manifest", fault, times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError, match=r"registry\.test") as caught:
                await worker.manifest(reference)
            assert caught.value.code is code
            assert caught.value.retry_after == retry_after
            assert caught.value.detail == {"upstream": "registry.test"}
            assert not worker.is_stored(IMAGE.digest)

    async def test_a_corrupt_manifest_is_not_stored_and_fetched_anew(self, site: Site) -> None:
        site.simulated.arm("manifest", Corrupt(20))
        async with site.worker() as worker:
            with pytest.raises(RegistryError):
                await worker.manifest(IMAGE.digest)
            assert (await worker.manifest(IMAGE.digest)).manifest.raw == IMAGE.raw


class TestBreaker:
    async def test_after_the_first_failure_nothing_cached_waits(self, site: Site) -> None:
        site.simulated.push("library/other", NEWER, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.manifest("latest", "library/other")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Hang(), times=None)
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            before = len(site.simulated.requests)
            async with asyncio.timeout(HASTY.headers * 0.8):
                for _ in range(10):
                    assert (await worker.manifest("latest")).outcome is Outcome.STALE
                    assert (await worker.manifest("latest", "library/other")).outcome is Outcome.STALE
            assert not asked(site, before)

    async def test_what_is_not_cached_is_asked_for_all_the_same(self, site: Site) -> None:
        site.simulated.push("library/other", NEWER, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm(
                "manifest", Reset(), times=2
            )  # aiohttp repeats a request on a reused connection
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            assert (await worker.manifest("latest", "library/other")).manifest.raw == NEWER.raw
            # And that it answered closes the breaker.
            assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED

    async def test_pauses_get_longer(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=503), times=None)
            await worker.manifest("latest")
            for count, pause in enumerate((5, 10, 20, 40, 60, 60), start=2):
                site.monotonic.advance(pause - 0.1)
                await worker.manifest("latest")
                assert site.simulated.count("HEAD", "manifest") == count - 1
                site.monotonic.advance(0.2)
                await worker.manifest("latest")
                await until(lambda: not worker.cache.manifests._single_flight._running)
                assert site.simulated.count("HEAD", "manifest") == count

    async def test_an_outage_of_one_upstream_is_none_of_another(self, site: Site) -> None:
        elsewhere = await site.simulate()
        elsewhere.push(REPOSITORY, IMAGE, "latest")
        other = site.client(elsewhere, "elsewhere.test")
        async with site.worker() as worker:
            await worker.manifest("latest")
            await worker.manifest("latest", upstream=other)
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=503), times=None)
            assert (await worker.manifest("latest")).outcome is Outcome.STALE
            assert (await worker.manifest("latest", upstream=other)).outcome is Outcome.REVALIDATED

    @pytest.mark.parametrize("status", [404, 401, 403])
    async def test_a_refusal_is_no_outage(self, site: Site, status: int) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(site.rules.tag_ttl)
            site.simulated.arm("manifest", Answer(status=status), reference="missing")
            with pytest.raises(RegistryError):
                await worker.manifest("missing")
            assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
