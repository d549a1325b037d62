"""Steps of the system's clock: nothing is trusted for longer than its time, and nothing stays for ever."""

from __future__ import annotations

import os
import time

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site
from tests.kit import images
from tests.kit.faults import Answer

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import RegistryError
from registry_proxy.oci.reference import Digest
from registry_proxy.server.responses import CachedResponse, ResponseCache

IMAGE = images.image(layers=3, layer_size=400_000)
FIRST, SECOND, THIRD = IMAGE.layers
HOUR, YEAR = 3600.0, 400 * 86400.0
STEPS = {"an hour back": -HOUR, "400 days back": -YEAR, "an hour forward": HOUR, "400 days forward": YEAR}
BACK = {name: step for name, step in STEPS.items() if step < 0}

each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
each_step_back = pytest.mark.parametrize("step", BACK.values(), ids=BACK)


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")


@each_step
async def test_a_tag_is_checked_again_once(site: Site, step: float) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        site.now.advance(step)
        assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
        served = await worker.manifest("latest")
        assert served.outcome is Outcome.HIT
        assert served.fresh_from == site.now()


@each_step
async def test_access_is_confirmed_again_once(site: Site, step: float) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await worker.store_blob(FIRST.digest)
        site.now.advance(step)
        assert await worker.outcome(FIRST.digest) is Outcome.REVALIDATED
        assert await worker.outcome(FIRST.digest) is Outcome.HIT
        assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.REVALIDATED
        assert (await worker.manifest(IMAGE.digest)).outcome is Outcome.HIT


@each_step
async def test_what_is_refused_after_it_stays_refused_in_an_outage(site: Site, step: float) -> None:
    async with site.worker() as worker:
        await worker.manifest("latest")
        await worker.store_blob(FIRST.digest)
        site.now.advance(step)
        site.simulated.arm("blob", Answer(status=403, code="DENIED"), times=1)
        with pytest.raises(RegistryError, match="denied"):
            await worker.outcome(FIRST.digest)
        site.simulated.arm("blob", Answer(status=503), times=None)
        for _ in range(2):
            with pytest.raises(RegistryError):
                await worker.outcome(FIRST.digest)


@each_step_back
async def test_what_was_used_in_the_future_is_evicted_in_its_turn(site: Site, step: float) -> None:
    async with site.worker(max_size=1_000_000) as worker:
        site.now.advance(-step)
        await worker.store_blob(FIRST.digest)
        await worker.cache._access_times.flush()
        site.now.advance(step)
        await worker.cache.evictor.clean_up()
        site.now.advance(120)
        await worker.store_blob(SECOND.digest)
        await worker.store_blob(THIRD.digest)
        assert [worker.is_stored(each.digest) for each in (FIRST, SECOND, THIRD)] == [False, True, True]


@each_step_back
async def test_a_leftover_from_the_future_is_removed(site: Site, step: float) -> None:
    async with site.worker() as worker, site.simulated.gate("blob", after=200_000) as gate:
        reading = Reading(await worker.blob(FIRST.digest))
        await reading.until(200_000)
        await reading.leave()
        await worker.kill()
        gate.release()
    [leftover] = site.files("ingest")
    os.utime(leftover, (site.now() - step, site.now() - step))
    async with site.worker() as worker:
        await worker.cache.evictor.clean_up()
        assert not site.files("ingest")
        assert not worker.index.reserved()


@each_step
def test_a_response_in_memory_is_fresh_in_its_own_time_only(step: float) -> None:
    now = time.time()
    digest = Digest.parse(IMAGE.digest)
    responses = ResponseCache()
    responses.put("x", "/v2/", CachedResponse(b"", b"", digest, "docker.io", now, now + 60))
    assert responses.get("x", "/v2/", now + 1) is not None
    assert responses.get("x", "/v2/", now + step) is None
