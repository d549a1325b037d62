"""One run of an operation for all who want its result at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from registry_proxy.aio.tasks import BackgroundTasks

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Operations under way, by key. They are the service's: a caller that leaves doesn't end one."""

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background
        self._running: dict[Hashable, asyncio.Future[Result]] = {}

    def start(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> asyncio.Future[Result]:
        """The future of the running operation of this key; one is begun where there is none."""
        future = self._running.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._running[key] = future
            task = self._background.spawn(self._run(key, operation, future), f"flight {key}")
            task.add_done_callback(lambda _: self._abandon(key, future))
        return future

    async def do(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the one operation for this key."""
        return await asyncio.shield(self.start(key, operation))

    async def _run(
        self, key: Hashable, operation: Callable[[], Awaitable[Result]], future: asyncio.Future[Result]
    ) -> None:
        try:
            result = await operation()
        except Exception as error:  # noqa: BLE001  handed to everyone who waits
            del self._running[key]
            future.set_exception(error)
            future.exception()  # nobody may be left to read it
        else:
            del self._running[key]
            future.set_result(result)

    def _abandon(self, key: Hashable, future: asyncio.Future[Result]) -> None:
        """Whoever waits for one that was cancelled, perhaps before it began, need not wait any longer."""
        if self._running.get(key) is future:
            del self._running[key]
            future.cancel()
