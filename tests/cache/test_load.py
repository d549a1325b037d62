"""Downloads and requests that nobody waits for, and more of them than there is room for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.cache.blobs import blob, hold
from tests.cache.harness import REPOSITORY, Reading, Site
from tests.kit import images
from tests.kit.waiting import until

from registry_proxy.aio.fair_limit import current_client
from registry_proxy.oci.errors import ErrorCode, RegistryError

if TYPE_CHECKING:
    from collections.abc import Coroutine

BLOBS = [blob(seed, 200_000) for seed in range(5)]


@pytest.fixture(autouse=True)
def room_for_two(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """Two downloads and two requests at a time; one client may have both."""
    monkeypatch.setattr("registry_proxy.cache.blobs.fills._MEMORY", 20 << 20)
    monkeypatch.setattr("registry_proxy.cache.blobs.fills._LEAST_MEMORY", 8 << 20)
    monkeypatch.setattr("registry_proxy.cache.breakers._REQUESTS", 2)
    monkeypatch.setattr("registry_proxy.aio.fair_limit._SHARE", 1)
    hold(site, *BLOBS)


def started(client: str, pull: Coroutine[object, object, object]) -> asyncio.Task[object]:
    """Start a pull of a client."""

    async def run() -> object:
        current_client.set(client)
        return await pull

    return asyncio.create_task(run())


async def left(task: asyncio.Task[object]) -> None:
    """Let a client leave."""
    task.cancel()
    await asyncio.wait([task])


class TestDownloads:
    async def test_those_that_have_not_begun_end_with_their_last_client(self, site: Site) -> None:
        async with site.worker() as worker:
            async with site.simulated.gate("blob", after=1000):
                readings = [Reading(await worker.blob(each.digest)) for each in BLOBS[:2]]
                waiting = [started("b", worker.pull(each.digest)) for each in BLOBS[2:]]
                await asyncio.sleep(0.05)
                assert not any(site.simulated.transfers(each.digest) for each in BLOBS[2:])
                for task in waiting:
                    await left(task)
            for reading, each in zip(readings, BLOBS, strict=False):
                assert await reading.whole() == each.raw
            assert await worker.pull(BLOBS[2].digest) == BLOBS[2].raw
        assert not any(site.simulated.transfers(each.digest) for each in BLOBS[3:])

    async def test_one_that_nobody_waits_for_makes_room_and_is_resumed_later(self, site: Site) -> None:
        async with site.worker() as worker:
            async with site.simulated.gate("blob", after=1000, reference=BLOBS[0].digest) as gate:
                first = await worker.blob(BLOBS[0].digest)
                await gate.reached.wait()
                async with site.simulated.gate("blob", after=1000, reference=BLOBS[1].digest) as other:
                    second = Reading(await worker.blob(BLOBS[1].digest))
                    await other.reached.wait()
                    first.body.close()
                    assert await worker.pull(BLOBS[2].digest) == BLOBS[2].raw
                assert await second.whole() == BLOBS[1].raw
            assert await worker.pull(BLOBS[0].digest) == BLOBS[0].raw

    async def test_one_that_nobody_waits_for_continues_while_there_is_room(self, site: Site) -> None:
        async with site.worker() as worker:
            async with site.simulated.gate("blob", after=1000) as gate:
                served = await worker.blob(BLOBS[0].digest)
                await gate.reached.wait()
                served.body.close()
            await until(lambda: worker.is_stored(BLOBS[0].digest))
        assert site.simulated.transfers(BLOBS[0].digest) == 1

    async def test_a_full_queue_is_429_with_the_time_of_the_next_attempt(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry_proxy.cache.blobs.fills._QUEUE", 1)
        async with site.worker() as worker, site.simulated.gate("blob", after=1000) as gate:
            readings = [Reading(await worker.blob(each.digest)) for each in BLOBS[:2]]
            waiting = started("b", worker.pull(BLOBS[2].digest))
            await asyncio.sleep(0.05)
            with pytest.raises(RegistryError) as refused:
                await worker.pull(BLOBS[3].digest)
            assert refused.value.code is ErrorCode.TOOMANYREQUESTS
            assert refused.value.retry_after
            gate.release()
            for reading in readings:
                await reading.whole()
            assert await waiting == BLOBS[2].raw


class TestRequests:
    async def test_unknown_names_delay_neither_other_registries_nor_their_own_clients_turn(
        self, site: Site
    ) -> None:
        site.simulated.push(REPOSITORY, images.image(layers=1, layer_size=100), "latest")
        async with site.worker() as worker, site.simulated.gate("manifest") as gate:
            flood = [
                started("a", worker.manifest("latest", repository=f"unknown/{number}"))
                for number in range(100)
            ]
            await gate.reached.wait()
            await asyncio.sleep(0.05)
            assert site.simulated.count(kind="manifest") <= 2
            pull = started("b", worker.manifest("latest"))
            for task in flood[2:]:
                await left(task)
            gate.release()
            await pull
            await asyncio.gather(*flood, return_exceptions=True)
        assert site.simulated.count(kind="manifest") <= 4

    async def test_a_cached_tag_is_served_stale_if_the_queue_is_full(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry_proxy.cache.breakers._QUEUE", 0)
        image = images.image(layers=1, layer_size=100)
        site.simulated.push(REPOSITORY, image, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.now.advance(3600)
            async with site.simulated.gate("manifest") as gate:
                flood = [
                    started("a", worker.manifest("latest", repository=f"unknown/{number}"))
                    for number in range(2)
                ]
                await gate.reached.wait()
                served = await worker.manifest("latest")
                assert served.manifest.raw == image.raw
                for task in flood:
                    await left(task)
