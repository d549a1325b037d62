from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.kit.waiting import until

from registry_proxy.aio.fair_limit import FairLimit, QueueFullError, current_client
from registry_proxy.aio.tasks import SingleFlight, background_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Crowd:
    """Clients whose work is admitted by one limit, and lasts until the test ends it."""

    def __init__(self, limit: FairLimit) -> None:
        self.limit = limit
        self.admitted: list[str] = []
        self.refused: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *names: str, weight: int = 1) -> None:
        """Start work. The first letter of its name is the client."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(name, weight))
            await asyncio.sleep(0)

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self._tasks[name]
        await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        """Cancel work, as when its client has left."""
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        await asyncio.sleep(0)

    async def _work(self, name: str, weight: int) -> None:
        current_client.set(name[0])
        try:
            async with self.limit.admitted(weight):
                self.admitted.append(name)
                await self._ends[name].wait()
        except QueueFullError:
            self.refused.append(name)

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()


@asynccontextmanager
async def crowd(capacity: int, queue: int = 100, wait_limit: float | None = None) -> AsyncIterator[Crowd]:
    it = Crowd(FairLimit(capacity, queue, wait_limit))
    try:
        yield it
    finally:
        it.stop()


async def test_one_client_leaves_a_quarter_to_others() -> None:
    async with crowd(4) as it:
        await it.start("a1", "a2", "a3", "a4", "b1")
        assert it.admitted == ["a1", "a2", "a3", "b1"]
        await it.end("a1")
        assert it.admitted[-1] == "a4"


async def test_the_next_is_of_the_client_with_the_least_in_progress() -> None:
    async with crowd(4) as it:
        await it.start("a1", "a2", "a3", "b1")
        await it.start("a4", "a5", "a6", "c1", "b2")
        await it.end("a1", "a2", "a3")
        assert it.admitted[4:] == ["c1", "a4", "b2"]


async def test_weights_are_added_up_and_one_that_is_too_heavy_runs_alone() -> None:
    async with crowd(8) as it:
        await it.start("a1", weight=8)
        await it.start("b1", weight=1)
        assert it.admitted == ["a1"]
        await it.end("a1")
        assert it.admitted == ["a1", "b1"]


async def test_in_a_full_queue_the_client_that_waits_for_the_most_gives_way() -> None:
    async with crowd(1, queue=3) as it:
        await it.start("a1", "a2", "a3", "a4", "a5")
        assert it.refused == ["a5"]
        await it.start("b1")
        await until(lambda: it.refused == ["a5", "a4"])
        await it.start("b2")
        assert it.refused == ["a5", "a4", "b2"]


async def test_no_wait_is_longer_than_the_wait_limit() -> None:
    async with crowd(1, wait_limit=0.05) as it:
        await it.start("a1", "a2")
        await until(lambda: it.refused == ["a2"])
        await it.end("a1")
        await it.start("a3")
        assert it.admitted == ["a1", "a3"]


async def test_who_leaves_makes_room() -> None:
    async with crowd(1) as it:
        await it.start("a1", "a2", "b1")
        await it.leave("a2")
        await it.leave("a1")
        assert it.admitted == ["a1", "b1"]
        await it.leave("b1")
        assert it.limit.has_room()


class TestFlights:
    async def test_one_that_has_not_begun_ends_with_its_last_caller(self) -> None:
        async with background_tasks() as background, crowd(1) as it:
            flights: SingleFlight[str] = SingleFlight(background, ends_unbegun=True)
            begun: list[str] = []

            async def operation() -> str:
                async with it.limit.admitted():
                    begun.append("flight")
                    return "result"

            await it.start("a1")
            callers = [asyncio.create_task(flights.do("key", operation)) for _ in range(2)]
            await asyncio.sleep(0)
            callers[0].cancel()
            await asyncio.wait([callers[0]])
            assert flights.running("key") is not None
            callers[1].cancel()
            await asyncio.wait([callers[1]])
            assert flights.running("key") is None
            await it.end("a1")
            assert not begun
            assert await flights.do("key", operation) == "result"

    async def test_one_that_has_begun_completes_without_callers(self) -> None:
        async with background_tasks() as background, crowd(1) as it:
            flights: SingleFlight[str] = SingleFlight(background, ends_unbegun=True)
            proceed, ended = asyncio.Event(), asyncio.Event()

            async def operation() -> str:
                async with it.limit.admitted():
                    await proceed.wait()
                    ended.set()
                    return "result"

            caller = asyncio.create_task(flights.do("key", operation))
            await until(lambda: not it.limit.has_room())
            caller.cancel()
            await asyncio.wait([caller])
            proceed.set()
            await asyncio.wait_for(ended.wait(), 10)
