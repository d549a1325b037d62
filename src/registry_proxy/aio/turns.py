"""Turns of tasks that need the same thing one after the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable


Rank = tuple[int, ...]


class Turns:
    """One task at a time per name. The next turn is that of the lowest rank, and of the latest task of that rank.

    The latest first: a task then waits for those after it only, however many came before.
    """

    def __init__(self) -> None:
        # The ranks of the waiting tasks, by name and in the order of their arrival. A name is here while it has a turn.
        self._waiting: dict[Hashable, dict[asyncio.Future[None], Rank]] = {}

    @asynccontextmanager
    async def turn(self, name: Hashable, rank: Rank, wait_limit: float) -> AsyncIterator[None]:
        """Hold the turn of `name` for the block. Raise TimeoutError if it does not come within `wait_limit` seconds."""
        if name in self._waiting:
            await self._wait(name, rank, wait_limit)
        else:
            self._waiting[name] = {}
        try:
            yield
        finally:
            self._pass_on(name)

    async def _wait(self, name: Hashable, rank: Rank, wait_limit: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[name][turn] = rank
        try:
            async with asyncio.timeout(wait_limit):
                await turn
        except BaseException:
            if turn.cancelled():
                self._waiting.get(name, {}).pop(turn, None)
            else:
                self._pass_on(name)  # the turn came together with the end of the wait
            raise

    def _pass_on(self, name: Hashable) -> None:
        waiting = self._waiting[name]
        while waiting:
            turn = min(reversed(waiting), key=waiting.__getitem__)
            del waiting[turn]
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[name]
