"""Limits for work that is expensive, with queues that are fair between the clients that cause it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

# The part of the capacity that one client may have: something is left for others at any time.
_SHARE = 3 / 4


@dataclass(slots=True)
class Work:
    """Work that several callers may wait for. It has begun once a limit has admitted it."""

    has_begun: bool = False


# The client that causes the work of the current task, and that work. Tasks inherit both.
current_client: ContextVar[Hashable] = ContextVar("current_client", default=None)
current_work: ContextVar[Work | None] = ContextVar("current_work", default=None)


class QueueFullError(Exception):
    """Too much work is waiting, or the wait was too long."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    weight: int
    admitted: asyncio.Future[None]


class FairLimit:
    """Work up to a total weight of `capacity` at a time. The rest waits, at most `queue` at a time.

    The next is that of the client with the least work in progress. If the queue is full, the client that waits for the
    most gives way. No work waits for longer than `wait_limit` seconds, if it is set.
    """

    def __init__(self, capacity: int, queue: int, wait_limit: float | None = None) -> None:
        self._capacity = capacity
        self._queue = queue
        self._wait_limit = wait_limit
        self._used: Counter[Hashable] = Counter()  # by client
        self._waiting: dict[Hashable, deque[_Waiter]] = {}

    def has_room(self, weight: int = 1) -> bool:
        """Return whether work of the current client would be admitted at once."""
        return not self._waiting and self._fits(current_client.get(), weight)

    @asynccontextmanager
    async def admitted(self, weight: int = 1) -> AsyncIterator[None]:
        """Admit the work of the block, after those before it. Raise QueueFullError."""
        client = current_client.get()
        if self._waiting or not self._fits(client, weight):
            await self._wait(client, weight)
        else:
            self._used[client] += weight
        if (work := current_work.get()) is not None:
            work.has_begun = True
        try:
            yield
        finally:
            self._release(client, weight)

    def _fits(self, client: Hashable, weight: int) -> bool:
        used = self._used[client]
        is_within_share = not used or used + weight <= self._capacity * _SHARE
        return is_within_share and self._used.total() + weight <= self._capacity

    async def _wait(self, client: Hashable, weight: int) -> None:
        self._make_room_in_queue(client)
        waiter = _Waiter(weight, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, deque()).append(waiter)
        self._admit_next()
        try:
            async with asyncio.timeout(self._wait_limit):
                await waiter.admitted
        except BaseException as error:
            if waiter.admitted.done() and not waiter.admitted.cancelled() and not waiter.admitted.exception():
                self._release(client, weight)  # the admission came together with the end of the wait
            else:
                self._leave(client, waiter)
            if isinstance(error, TimeoutError):
                raise QueueFullError from None
            raise

    def _make_room_in_queue(self, client: Hashable) -> None:
        if sum(map(len, self._waiting.values())) < self._queue:
            return
        greediest = max(self._waiting, key=lambda each: len(self._waiting[each]), default=client)
        if len(self._waiting.get(greediest, ())) <= len(self._waiting.get(client, ())) + 1:
            raise QueueFullError
        last = self._waiting[greediest][-1]
        self._leave(greediest, last)
        if not last.admitted.done():
            last.admitted.set_exception(QueueFullError())

    def _leave(self, client: Hashable, waiter: _Waiter) -> None:
        queue = self._waiting.get(client)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[client]
        self._admit_next()

    def _release(self, client: Hashable, weight: int) -> None:
        self._used[client] -= weight
        if not self._used[client]:
            del self._used[client]
        self._admit_next()

    def _admit_next(self) -> None:
        """Admit waiting work, as long as there is room. A client that has its share is passed over."""
        while True:
            fitting = [each for each, queue in self._waiting.items() if self._fits(each, queue[0].weight)]
            if not fitting:
                return
            client = min(fitting, key=lambda each: self._used[each])
            queue = self._waiting.pop(client)
            waiter = queue.popleft()
            if queue:
                self._waiting[client] = queue  # behind the others that have as much
            if not waiter.admitted.done():
                self._used[client] += waiter.weight
                waiter.admitted.set_result(None)
