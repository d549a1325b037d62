"""One bad image is not an outage: whom a failure stops, and for how long."""

from __future__ import annotations

import asyncio

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Site, Worker
from tests.kit import images
from tests.kit.faults import Answer, Fault, Hang, Reset, account_limit, too_many_requests
from tests.kit.waiting import until

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Repository
from registry_proxy.upstream.base import TagQuery
from registry_proxy.upstream.response import Timeouts

IMAGE, NEWER = images.image(), images.image(seed=1)
BAD = "acme/bad"


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    for name in (REPOSITORY, BAD):
        site.simulated.push(name, IMAGE, "latest")


async def expire(site: Site, worker: Worker) -> None:
    """Cache the tag of both repositories, move it upstream, and let the cached ones expire."""
    for name in (REPOSITORY, BAD):
        await worker.manifest("latest", name)
        site.simulated.push(name, NEWER, "latest")
    site.now.advance(site.rules.tag_ttl)


RESPONSES: dict[str, Fault] = {
    "503": Answer(status=503),
    "429": too_many_requests(30),
    "429 as text": too_many_requests(30, plain=True),
    "nonsense": Answer(status=200, body=b"nonsense"),
}


@pytest.mark.parametrize("fault", RESPONSES.values(), ids=RESPONSES.keys())
async def test_a_failure_of_one_repository_does_not_stop_the_tags_of_others(site: Site, fault: Fault) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("manifest", fault, repository=BAD, times=None)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.STALE
        served = await worker.manifest("latest")
        assert (served.outcome, served.manifest.raw) == (Outcome.MISS, NEWER.raw)


async def test_retry_after_binds_the_repository_that_it_was_sent_for(site: Site) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("manifest", too_many_requests(30), repository=BAD)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.STALE
        assert (await worker.manifest("latest")).outcome is Outcome.MISS
        site.monotonic.advance(29)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.STALE
        site.monotonic.advance(1)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.REVALIDATED


async def test_the_limit_of_the_account_binds_all_repositories(site: Site) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("manifest", account_limit(30), repository=BAD)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.STALE
        before = len(site.simulated.requests)
        site.monotonic.advance(29)
        assert (await worker.manifest("latest")).outcome is Outcome.STALE
        assert len(site.simulated.requests) == before
        site.monotonic.advance(1)
        assert (await worker.manifest("latest")).outcome is Outcome.MISS


@pytest.mark.parametrize("fault", [Reset(), Hang()])
async def test_a_registry_that_does_not_respond_delays_only_the_first(site: Site, fault: Fault) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("manifest", fault, times=None)
        hasty = site.client(site.simulated, timeouts=HASTY)
        assert (await worker.manifest("latest", BAD, upstream=hasty)).outcome is Outcome.STALE
        before = len(site.simulated.requests)
        assert (await worker.manifest("latest")).outcome is Outcome.STALE
        assert len(site.simulated.requests) == before


async def test_a_repository_that_hangs_while_others_respond_stops_only_itself(site: Site) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        hanging = site.simulated.arm("manifest", Hang(), repository=BAD, times=None)
        hasty = site.client(site.simulated, timeouts=Timeouts(headers=3))
        bad = asyncio.create_task(worker.manifest("latest", BAD, upstream=hasty))
        await hanging.reached.wait()
        assert (await worker.manifest("latest")).outcome is Outcome.MISS
        assert (await bad).outcome is Outcome.STALE
        site.simulated.push(REPOSITORY, IMAGE, "latest")
        site.now.advance(site.rules.tag_ttl)
        assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
        before = len(site.simulated.requests)
        assert (await worker.manifest("latest", BAD)).outcome is Outcome.STALE
        assert len(site.simulated.requests) == before


async def test_while_several_repositories_fail_the_tags_of_others_move_but_do_not_wait(site: Site) -> None:
    """A gateway can take long for its 504, for each repository."""
    for name in ("acme/worse", "acme/slow"):
        site.simulated.push(name, IMAGE, "latest")
    async with site.worker() as worker:
        for name in ("acme/worse", "acme/slow"):
            await worker.manifest("latest", name)
        await expire(site, worker)
        site.simulated.push("acme/slow", NEWER, "latest")
        for name in (BAD, "acme/worse"):
            site.simulated.arm("manifest", Answer(status=504), repository=name, times=None)
            assert (await worker.manifest("latest", name)).outcome is Outcome.STALE
        held = site.simulated.arm("manifest", Hang(), repository="acme/slow")
        assert (await worker.manifest("latest", "acme/slow")).outcome is Outcome.STALE
        held.release()
        await until(lambda: worker.tagged("latest", "acme/slow") == NEWER.digest)
        # That it responded well shows that the registry is not failing.
        assert (await worker.manifest("latest")).manifest.raw == NEWER.raw


async def test_a_dead_token_service_stops_all_repositories(site: Site) -> None:
    hub = await site.simulate("dockerhub")
    for name in (REPOSITORY, BAD):
        hub.push(name, IMAGE, "latest")
    upstream = site.client(hub, "hub.test")
    async with site.worker() as worker:
        for name in (REPOSITORY, BAD):
            await worker.manifest("latest", name, upstream=upstream)
        site.now.advance(site.rules.tag_ttl)
        hub.kill_tokens()
        hub.arm("token", Reset(), times=None)
        for name in (BAD, REPOSITORY):
            assert (await worker.manifest("latest", name, upstream=upstream)).outcome is Outcome.STALE
        assert hub.count("HEAD", "manifest") == 2  # with the dead token, and without


async def test_storage_that_does_not_respond_stops_no_tags_of_others(site: Site) -> None:
    quay = await site.simulate("quay")
    for name in (REPOSITORY, BAD):
        quay.push(name, IMAGE, "latest")
    upstream = site.client(quay, "quay.test")
    layer = IMAGE.layers[0].digest
    async with site.worker() as worker:
        await worker.manifest("latest", upstream=upstream)
        await worker.store_blob(layer, BAD, upstream=upstream)
        site.now.advance(site.rules.access_ttl)
        quay.arm("blob", Reset(), times=None)
        assert await worker.outcome(layer, BAD, upstream=upstream) is Outcome.STALE
        assert (await worker.manifest("latest", upstream=upstream)).outcome is Outcome.REVALIDATED


async def test_a_list_of_tags_that_fails_stops_no_tag_of_its_repository(site: Site) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("tags", Answer(status=504))
        with pytest.raises(RegistryError) as caught:
            await worker.cache.tags.get(site.upstream.repository(Repository(REPOSITORY)), TagQuery())
        assert caught.value.code is ErrorCode.UPSTREAM_BROKEN
        assert (await worker.manifest("latest")).outcome is Outcome.MISS


async def test_the_pauses_of_a_repository_get_longer_while_others_respond(site: Site) -> None:
    async with site.worker() as worker:
        await expire(site, worker)
        site.simulated.arm("manifest", Answer(status=503), repository=BAD, times=None)
        await worker.manifest("latest", BAD)
        for pause in (5, 10, 20, 40, 60):
            assert (await worker.manifest("latest")).manifest.raw == NEWER.raw
            site.now.advance(site.rules.tag_ttl)
            before = site.simulated.count()
            site.monotonic.advance(pause - 0.1)
            await worker.manifest("latest", BAD)
            assert site.simulated.count() == before
            site.monotonic.advance(0.2)
            await worker.manifest("latest", BAD)
            await until(lambda: not worker.cache.manifests._single_flight._running)
            assert site.simulated.count() > before
