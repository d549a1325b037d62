"""The command line: `python -m bench.soak`."""

import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from bench.soak.images import Factory
from bench.soak.injector import FaultInjector
from bench.soak.inspection import Inspector, inspect_leftovers
from bench.soak.intruder import Intruder
from bench.soak.ledger import ActiveFaults, Ledger
from bench.soak.reader import Reader
from bench.soak.site import MIB, Site, enter_own_mounts

_Minutes = Annotated[float, typer.Option(min=0.1, help="Duration, without the final checks.")]
_Seed = Annotated[int | None, typer.Option(help="The same seed causes the same faults in the same order.")]
_Readers = Annotated[int, typer.Option(min=12, help="Number of concurrent clients.")]
_Images = Annotated[
    int, typer.Option(min=10, help="Number of images; the store has space for about a third of 40.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]

# Number of clients that attack the server all the time.
_INTRUDERS = 4
_TERMINATED = 128 + signal.SIGTERM


def soak(
    minutes: _Minutes = 3.0,
    seed: _Seed = None,
    readers: _Readers = 24,
    images: _Images = 40,
    as_json: _Json = False,
) -> None:
    """Pull images while registries, processes and the disk fail at random, and count the losses.

    If there is a loss, the exit code is 1 and the server's log is kept. Requires root, or user namespaces.

    Example: python -m bench.soak --minutes 10 --seed 1
    """
    enter_own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that started processes are stopped
    seed = random.SystemRandom().randrange(1000) if seed is None else seed
    _print(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="registry-proxy-soak-"))
    try:
        with Site(directory) as site:
            ledger = asyncio.run(Soak(site, seed, readers, images).run(minutes * 60))
    except asyncio.CancelledError:
        shutil.rmtree(directory)
        raise typer.Exit(_TERMINATED) from None
    print(json.dumps(ledger.summary(), indent=2) if as_json else _text(ledger))
    if ledger.lost:
        _print(f"the server's log is {site.log}")
        raise typer.Exit(1)
    shutil.rmtree(directory)


class Soak:
    """One soak test at a site."""

    def __init__(self, site: Site, seed: int, readers: int, images: int) -> None:
        chance = random.Random(seed)
        factory = Factory(seed)
        self._site = site
        self._readers = readers
        self._chance = chance
        self._ledger = Ledger()
        self._active = ActiveFaults()
        self._items = factory.items(images)
        self._injector = FaultInjector(site, self._items, factory, self._ledger, self._active, chance)
        self._inspector = Inspector(site, self._ledger, self._active)

    async def run(self, seconds: float) -> Ledger:
        """Run the soak for `seconds` and return its ledger. SIGTERM cancels it."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        for item in self._items:
            await asyncio.to_thread(self._site.push, item)
        connector = aiohttp.TCPConnector(limit=0)
        base = f"http://127.0.0.1:{self._site.port}"
        async with aiohttp.ClientSession(base, connector=connector, auto_decompress=False) as http:
            crowd = [self._reader(http) for _ in range(self._readers)]
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(work)
                    for work in (
                        self._inspector.run(),
                        *(each.run() for each in crowd),
                        *(self._intruder().run() for _ in range(_INTRUDERS)),
                    )
                ]
                await self._inject(crowd, seconds)
                for task in running:
                    task.cancel()
            await self._end(crowd)
        return self._ledger

    async def _inject(self, crowd: list[Reader], seconds: float) -> None:
        end = time.monotonic() + seconds
        faults = iter(self._injector.all())
        while time.monotonic() < end:
            await self._phase("calm", self._injector.calm(crowd))
            fault = next(faults, None)
            if fault is None:
                faults = iter(self._injector.all())
                fault = next(faults)
            await self._phase(fault.__name__, fault())
            await asyncio.sleep(3)
            for upstream in self._site.upstreams:
                await asyncio.to_thread(upstream.clear)  # its log grows

    async def _phase(self, name: str, work: Awaitable[None]) -> None:
        await work
        ledger = self._ledger
        _print(
            f"{ledger.seconds:6.0f} s  {name:<12} {ledger.requests:7} requests  {ledger.bytes / MIB:8.0f} MiB"
            f"  {ledger.excused.total():5} failures allowed  {ledger.lost} losses"
        )

    async def _end(self, crowd: list[Reader]) -> None:
        """Check, after the last fault, that every image can be pulled and that nothing is left over."""
        await asyncio.sleep(3)
        for number in range(0, len(self._items), 4):
            await asyncio.gather(
                *(
                    crowd[index].attempt(item, crowd[index].pull)
                    for index, item in enumerate(self._items[number : number + 4])
                )
            )
        await self._injector.graceful_stop()  # the restart cleans up the store
        await asyncio.sleep(1)
        if await asyncio.to_thread(self._site.stop):
            self._ledger.lose("bad end", "the server's exit status is not 0")
        await inspect_leftovers(self._site, self._items, self._ledger)

    def _intruder(self) -> Intruder:
        chance = random.Random(self._chance.random())
        return Intruder(self._site.port, self._items, self._ledger, chance)

    def _reader(self, http: aiohttp.ClientSession) -> Reader:
        return Reader(http, self._items, self._ledger, self._active, random.Random(self._chance.random()))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _text(ledger: Ledger) -> str:
    counts = {"faults": ledger.faults, "responses": ledger.outcomes, "failures allowed": ledger.excused}
    lines = [
        f"{ledger.requests} requests, {ledger.bytes / MIB:.0f} MiB in {ledger.seconds:.0f} s; "
        f"the largest worker had {ledger.peak_memory / MIB:.0f} MiB, the store {ledger.peak_store / MIB:.1f} MiB"
    ]
    for name, counted in counts.items():
        lines += [f"{name}:", *(f"  {count:7}  {what}" for what, count in counted.most_common())]
    lines += [
        f"losses: {ledger.lost or 'none'}",
        *(f"  {loss.at:7}  {loss.kind}: {loss.text}" for loss in ledger.losses),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(soak)
