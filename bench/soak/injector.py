"""Faults of registries, processes and the disk, at random but the same for the same seed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.kit.faults import (
    Answer,
    Body,
    Break,
    Corrupt,
    Hang,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Tamper,
    WrongLength,
    too_many_requests,
)

from bench.soak.images import REGISTRIES, Item
from bench.soak.inspection import cached_names
from bench.soak.ledger import OUTAGE

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from tests.kit.faults import Fault
    from tests.kit.wire import Kind

    from bench.soak.images import Factory
    from bench.soak.ledger import ActiveFaults, Ledger
    from bench.soak.reader import Reader
    from bench.soak.site import Site

# The duration of a fault, in seconds, and the number of clients that pull a new image at once.
_SECONDS = 6.0
_CROWD = 12


# Responses of a registry that means harm.
_NESTED = b"[" * 100_000
_CROWDED = b'{"schemaVersion": 2, "manifests": [' + b"{}," * 200_000 + b"{}]}"
_ENDLESS_CHALLENGE = "Bearer " + "a=b, " * 1_500


class FaultInjector:
    """The faults, each a coroutine of some seconds. Between them, and after them, none is active."""

    def __init__(
        self,
        site: Site,
        items: Sequence[Item],
        factory: Factory,
        ledger: Ledger,
        active: ActiveFaults,
        chance: random.Random,
    ) -> None:
        self._site = site
        self._items = items
        self._factory = factory
        self._ledger = ledger
        self._active = active
        self._random = chance
        self._bursts = 0

    def all(self) -> list[Callable[[], Awaitable[None]]]:
        """Return every fault, in random order."""
        faults = [
            self.faults,
            self.dead_workers,
            self.crash,
            self.graceful_stop,
            self.outage,
            self.full_disk,
            self.reload,
            self.everything,
        ]
        return self._random.sample(faults, len(faults))

    async def calm(self, crowd: Sequence[Reader]) -> None:
        """Move some tags and let many clients pull a new image, without a fault."""
        for item in self._random.sample(list(self._items), 3):
            item.move(self._factory.version())
            await asyncio.to_thread(self._site.push, item)
        await self._burst(crowd)
        await asyncio.sleep(_SECONDS / 2)

    async def faults(self) -> None:
        """Make registries send wrong responses of all kinds."""
        with self._active.fault("faults"):
            end = time.monotonic() + _SECONDS
            while time.monotonic() < end:
                await asyncio.to_thread(self._arm)
                await asyncio.sleep(self._random.random() / 4)
            for upstream in self._site.upstreams:
                await asyncio.to_thread(upstream.clear)

    async def dead_workers(self) -> None:
        """Kill one worker, then another one."""
        for _ in range(2):
            with self._active.fault("dead worker"):
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(self._site.workers()), signal.SIGKILL)
                self._ledger.faults["worker killed"] += 1
                await asyncio.to_thread(self._site.wait_for_workers)
            await asyncio.sleep(_SECONDS / 3)

    async def crash(self) -> None:
        """Kill all processes of the server, several times soon after they have started."""
        for _ in range(3):
            with self._active.fault("crash"):
                self._ledger.faults["server killed"] += 1
                await asyncio.to_thread(self._site.kill)
                await asyncio.to_thread(self._site.start)
            await asyncio.sleep(self._random.random() * 2)

    async def graceful_stop(self) -> None:
        """Stop the server gracefully, and start it again."""
        with self._active.graceful_stop():
            self._ledger.faults["server stopped"] += 1
            status = await asyncio.to_thread(self._site.stop)
            if status:
                self._ledger.lose("bad end", f"the server's exit status is {status}")
            await asyncio.to_thread(self._site.start)

    async def outage(self) -> None:
        """Stop all registries, and crash the server during this outage."""
        self._ledger.faults["outage"] += 1
        with self._active.fault(OUTAGE):
            for upstream in self._site.upstreams:
                await asyncio.to_thread(upstream.stop)
            await asyncio.sleep(1)
            names = await cached_names(self._site.store, self._items)
            if not names:
                self._ledger.lose("cached content unavailable", "nothing is cached")
            with self._active.all_cached(names):
                await asyncio.sleep(_SECONDS)
                await self.crash()
                await asyncio.sleep(_SECONDS / 2)
            for upstream in self._site.upstreams:
                await asyncio.to_thread(upstream.start)

    async def full_disk(self) -> None:
        """Fill the disk repeatedly, as another program could. This does not excuse a failure."""
        self._ledger.faults["full disk"] += 1
        self._site.is_full = True
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            await asyncio.to_thread(self._site.fill_disk)
            await asyncio.sleep(self._random.random())
        self._site.relieve_disk()
        await asyncio.sleep(1)
        self._site.is_full = False

    async def reload(self) -> None:
        """Reload the configuration of the server. This does not excuse a failure."""
        self._ledger.faults["reload"] += 1
        self._site.reload()
        await asyncio.sleep(_SECONDS / 3)

    async def everything(self) -> None:
        """Combine wrong responses, dying workers and a full disk."""
        with self._active.fault("everything"):
            await asyncio.gather(self.faults(), self.dead_workers(), self.full_disk())

    async def _burst(self, crowd: Sequence[Reader]) -> None:
        """Let many clients pull the same new image at once, and check that it is transferred once."""
        self._bursts += 1
        item = Item(self._random.choice(list(REGISTRIES)), f"burst/app-{self._bursts}")
        image = self._factory.image(size=6 << 20)
        item.move(image)
        await asyncio.to_thread(self._site.push, item)
        begun = time.monotonic()
        await asyncio.gather(*(reader.attempt(item, reader.pull) for reader in crowd[:_CROWD]))
        if self._active.excuses(begun):
            return
        requests = await asyncio.to_thread(lambda: self._site.upstream(item.profile).requests)
        for blob in (image.config, image.layers[0]):
            # A request for one byte only checks whether the blob is available.
            transfers = [each for each in requests if each.reference == blob.digest and each.sent > 1]
            whole = [each for each in transfers if each.is_transfer]
            if len(whole) != 1:
                ranges = [f"{each.headers.get('Range')}: {each.sent} bytes" for each in whole]
                self._ledger.lose("double transfer", f"{item.name} {blob.digest}: {ranges}")

    def _arm(self) -> None:
        kind, fault = self._fault()
        times = self._random.choice((1, 1, 1, 2, 5))
        self._ledger.faults[f"{kind}: {type(fault).__name__}"] += 1
        self._site.upstream(self._random.choice(list(REGISTRIES))).arm(kind, fault, times=times)

    def _fault(self) -> tuple[Kind, Fault]:
        at = self._random.randrange(1 << self._random.randrange(6, 22))
        wrong_status = Answer(status=self._random.choice((400, 401, 403, 404, 500, 502, 503)), code="DENIED")
        anywhere: tuple[Fault, ...] = (wrong_status, Reset(), Hang(), too_many_requests(2), Redirect())
        faults: dict[Kind, tuple[Fault, ...]] = {
            "blob": (
                *anywhere,
                Break(at),
                Break(at),
                Break(at),
                Stall(at),
                Corrupt(at % 64),
                Corrupt(-1),
                WrongLength(at + 1),
                WrongLength(-1),
                IgnoreRange(),
                Tamper(remove=("Content-Length",)),
                Tamper(headers={"Content-Encoding": "gzip"}),
            ),
            "manifest": (
                *anywhere,
                Body(b"{}"),
                Body(_NESTED),
                Body(_CROWDED),
                Answer(status=401, headers={"WWW-Authenticate": _ENDLESS_CHALLENGE}),
                Answer(status=429, headers={"Retry-After": "9" * 400}),
                Corrupt(at % 64),
                Break(at % 64),
                Tamper(remove=("Docker-Content-Digest",)),
                Tamper(headers={"Content-Type": "text/html"}),
            ),
            "token": (*anywhere, Body(b"{}"), Body(_NESTED), Body(b'{"token": "x", "expires_in": 1e999}')),
        }
        kind = self._random.choices(list(faults), (6, 3, 1))[0]
        return kind, self._random.choice(faults[kind])
