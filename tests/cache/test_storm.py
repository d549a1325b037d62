"""Everything at once, by seed: two workers, a tight budget, faults, departures and deaths. Nothing is lost or wrong."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Reading, Site, Worker
from tests.kit import images
from tests.kit.faults import Answer, Break, Corrupt, Fault, IgnoreRange, Reset, Tamper, WrongLength
from tests.kit.pauses import measured_pauses
from tests.kit.waiting import until

from registry_proxy.oci.errors import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (0, 1, 1000, 50_000, 400_000, 1_500_000, 3_000_000)
BUDGET = 5_000_000
OTHER = "acme/other"
PULLS = 60


def faults(dice: random.Random, size: int) -> tuple[Fault, ...]:
    """What goes wrong with one transfer; mostly nothing."""
    choices: list[tuple[Fault, ...]] = [
        (Break(after=dice.randrange(size + 1)),),
        (Break(after=dice.randrange(size + 1)), IgnoreRange()),
        (Reset(),),
        (Answer(status=503),),
        (Answer(status=404, code="BLOB_UNKNOWN"),),
        (Tamper(remove=("Content-Length",)),),
        (WrongLength(3),),
    ]
    if size:
        choices += [(Corrupt(0),), (Corrupt(-1),)]
    return dice.choice(choices)


@dataclass
class Storm:
    site: Site
    dice: random.Random
    blobs: list[images.Content] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    failures: int = 0

    async def rage(self) -> None:
        pulls = [asyncio.create_task(self.pull(number)) for number in range(PULLS)]
        async with asyncio.timeout(60):
            await asyncio.sleep(PULLS * 0.005)
            await self.workers[0].kill()
            await asyncio.gather(*pulls)

    async def pull(self, number: int) -> None:
        """One client."""
        dice = random.Random(self.dice.random())
        await asyncio.sleep(number * 0.01)
        blob = dice.choice(self.blobs)
        if dice.random() < 0.4:
            self.site.simulated.arm("blob", *faults(dice, blob.size), reference=blob.digest)
        try:
            await self.read(dice, blob)
        except (RegistryError, ConnectionError, asyncio.CancelledError):
            self.failures += 1

    async def read(self, dice: random.Random, blob: images.Content) -> None:
        repository = dice.choice([REPOSITORY, OTHER])
        served = await dice.choice(self.workers).blob(blob.digest, repository)
        size = served.body.size
        start = dice.choice([0, 0, 0, size // 2, max(0, size - 1)])
        stop = dice.choice([size, size, dice.randint(start, size)])
        reading = Reading(served, start, stop)
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 0.02)
            await reading.leave()
            return
        received = await reading.whole()
        assert len(received) == stop - start
        # Only what has the last byte is verified.
        assert stop < size or received == blob.raw[start:stop]

    async def check(self) -> None:
        """What holds when all is over."""
        for worker in self.workers:
            for blob in self.blobs:
                await worker.settled(blob.digest)
        raw = {blob.digest.partition(":")[2]: blob.raw for blob in self.blobs}
        files = {path.name: path.read_bytes() for path in self.site.files("blobs")}
        assert all(raw[name] == content for name, content in files.items())
        index = self.workers[0].index
        rows = {row.digest.hex: row.size for row in index.least_recently_used(1000)}
        assert rows == {name: len(content) for name, content in files.items()}
        assert {digest.hex for digest in index.reserved()} == {
            path.name for path in self.site.files("ingest")
        }
        assert index.used_bytes() <= BUDGET


@pytest.mark.parametrize("seed", range(3))
async def test_two_workers(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    async with Site(tmp_path, max_size=BUDGET) as site, AsyncExitStack() as stack:
        await site.simulate()
        site.upstream = site.client(site.simulated, timeouts=HASTY)
        storm = Storm(site, dice)
        storm.blobs = [
            images.Content.of("application/octet-stream", images.incompressible(size, number))
            for number, size in enumerate(SIZES)
        ]
        for repository in (REPOSITORY, OTHER):
            held = site.simulated.contents.repository(repository).blobs
            held |= {blob.digest: blob for blob in storm.blobs}
        storm.workers = [await stack.enter_async_context(site.worker()) for _ in range(2)]
        async with measured_pauses() as pauses:
            await storm.rage()
        assert pauses.busy < 0.5, pauses  # measured: 0.05 s, with the registry in the same loop
        await storm.workers[0].cache.evictor.clean_up()
        await storm.check()
        # And then nothing is wrong any more.
        site.simulated.faults.clear()
        for worker in storm.workers:
            for blob in storm.blobs:
                assert await worker.pull(blob.digest) == blob.raw
        await storm.check()
        assert storm.failures < PULLS
        await until(lambda: all(not worker.background._running for worker in storm.workers))
