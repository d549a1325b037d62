"""Background tasks, which outlive the request that started them, and single-flight operations on top of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Tasks in the TaskGroup of the service. A failure is logged and does not end the group."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, object], name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or the service stops."""
        task = self._tasks.create_task(_contained(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # A task that is cancelled before its first step never awaits its work.
        task.add_done_callback(lambda _: work.close())
        return task

    def cancel(self) -> None:
        """Cancel all running tasks."""
        for task in list(self._running):
            task.cancel()


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


@asynccontextmanager
async def background_tasks() -> AsyncIterator[BackgroundTasks]:
    """Yield background tasks in a new TaskGroup, and cancel them when the block ends."""
    failure = None
    async with asyncio.TaskGroup() as tasks:
        background = BackgroundTasks(tasks)
        try:
            yield background
        except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it in an ExceptionGroup
            failure = error
        finally:
            background.cancel()
    if failure is not None:
        raise failure


async def _contained(work: Coroutine[object, object, object], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("background task %s failed, the server keeps running; please report this", name)
