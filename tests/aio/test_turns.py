"""Turns: one at a time, the lowest rank first, among equals the latest; tasks that leave take no turn with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from registry_proxy.aio.turns import Turns


@dataclass
class Queue:
    """Tasks that wait for turns, and the order in which they have had them."""

    turns: Turns = field(default_factory=Turns)
    had: list[str] = field(default_factory=list)

    async def take(self, label: str, *, rank: int = 0, name: str = "ann", wait_limit: float = 60) -> None:
        async with self.turns.turn(name, (rank,), wait_limit):
            self.had.append(label)
            await asyncio.sleep(0)


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_the_latest_of_the_lowest_rank_is_next(queue: Queue) -> None:
    async with asyncio.TaskGroup() as tasks:
        for label, rank in [("first", 0), ("a", 0), ("b", 1), ("c", 0), ("d", 1)]:
            tasks.create_task(queue.take(label, rank=rank))
    assert queue.had == ["first", "c", "a", "d", "b"]


async def test_names_do_not_wait_for_each_other(queue: Queue) -> None:
    async with queue.turns.turn("ann", (0,), 60):
        await queue.take("b", name="ben")
    assert queue.had == ["b"]


async def test_who_waits_too_long_leaves_and_the_others_go_on(queue: Queue) -> None:
    async with asyncio.TaskGroup() as tasks, queue.turns.turn("ann", (0,), 60):
        patient = tasks.create_task(queue.take("patient"))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await queue.take("impatient", wait_limit=0)
        assert not patient.done()
    assert queue.had == ["patient"]


async def test_a_turn_that_comes_together_with_the_end_of_its_task_goes_to_the_next(queue: Queue) -> None:
    async with asyncio.TaskGroup() as tasks:
        async with queue.turns.turn("ann", (0,), 60):
            tasks.create_task(queue.take("next"))
            leaving = tasks.create_task(queue.take("leaving"))
            await asyncio.sleep(0)
        leaving.cancel()  # it has just got the turn
    assert queue.had == ["next"]
    await queue.take("later")


async def test_a_task_that_has_just_left_gets_no_turn(queue: Queue) -> None:
    async with asyncio.TaskGroup() as tasks, queue.turns.turn("ann", (0,), 60):
        tasks.create_task(queue.take("next"))
        leaving = tasks.create_task(queue.take("leaving"))
        await asyncio.sleep(0)
        leaving.cancel()
    assert queue.had == ["next"]


async def test_nothing_is_kept_of_turns_that_ended(queue: Queue) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(queue.take(str(number), name=str(number % 3))).add_done_callback(lambda _: None)
    assert queue.turns._waiting == {}
