"""Single-flight: one run of an operation for all callers that want its result at the same time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from registry_proxy.aio.tasks import BackgroundTasks

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Operations in progress, by key. They run in the background: a caller that leaves does not end one."""

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background
        self._running: dict[Hashable, asyncio.Future[Result]] = {}

    def running(self, key: Hashable) -> asyncio.Future[Result] | None:
        """Return the future of the running operation with this key, if there is one."""
        return self._running.get(key)

    def start(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> asyncio.Future[Result]:
        """Return the future of the running operation with this key; start one if there is none.

        All callers share the future: do not cancel it.
        """
        future = self._running.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._running[key] = future
            task = self._background.spawn(self._run(key, operation, future), f"request for {key}")
            task.add_done_callback(partial(self._abandon, key, future))
        return future

    async def do(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of the one operation with this key."""
        return await asyncio.shield(self.start(key, operation))

    async def _run(
        self, key: Hashable, operation: Callable[[], Awaitable[Result]], future: asyncio.Future[Result]
    ) -> None:
        try:
            result = await operation()
        except Exception as error:  # noqa: BLE001 - every waiter gets it
            del self._running[key]
            future.set_exception(error)
            future.exception()  # possibly no waiter is left to read it
        else:
            del self._running[key]
            future.set_result(result)

    def _abandon(self, key: Hashable, future: asyncio.Future[Result], _: object) -> None:
        """Cancel the waiters of an operation that was cancelled, possibly before its first step."""
        if self._running.get(key) is future:
            del self._running[key]
            future.cancel()
