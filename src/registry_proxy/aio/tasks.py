"""Background tasks, which outlive the request that started them, and single-flight operations on top of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from registry_proxy.aio.fair_limit import Work, current_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
    from contextvars import Context

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
    """Operations in progress, by key. They run in the background: a caller that leaves does not end one.

    With `ends_unbegun`, an operation that no limit has admitted yet ends with its last caller (see `FairLimit`).
    """

    def __init__(self, background: BackgroundTasks, *, ends_unbegun: bool = False) -> None:
        self._background = background
        self._ends_unbegun = ends_unbegun
        self._running: dict[Hashable, asyncio.Future[Result]] = {}

    def running(self, key: Hashable) -> asyncio.Future[Result] | None:
        """Return the future of the running operation with this key, if there is one."""
        return self._running.get(key)

    def start(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> asyncio.Future[Result]:
        """Return the future of the running operation with this key; start one if there is none.

        All callers share the future: do not cancel it.
        """
        running = self._running.get(key)
        if running is not None:
            return running
        work = Work()
        future: _Shared[Result] = _Shared()
        self._running[key] = future
        task = self._background.spawn(self._run(key, operation, future, work), f"request for {key}")
        task.add_done_callback(partial(self._abandon, key, future))
        if self._ends_unbegun:
            future.on_deserted = partial(self._end_unbegun, key, future, work, task)
        return future

    async def do(self, key: Hashable, operation: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of the one operation with this key."""
        return await asyncio.shield(self.start(key, operation))

    async def _run(
        self,
        key: Hashable,
        operation: Callable[[], Awaitable[Result]],
        future: asyncio.Future[Result],
        work: Work,
    ) -> None:
        current_work.set(work)
        try:
            result = await operation()
        except Exception as error:  # noqa: BLE001 - every waiter gets it
            self._forget(key, future)
            future.set_exception(error)
            future.exception()  # possibly no waiter is left to read it
        else:
            self._forget(key, future)
            future.set_result(result)

    def _end_unbegun(
        self, key: Hashable, future: asyncio.Future[Result], work: Work, task: asyncio.Task[None]
    ) -> None:
        if not work.has_begun:
            self._forget(key, future)  # the next caller starts another one
            task.cancel()

    def _abandon(self, key: Hashable, future: asyncio.Future[Result], _: object) -> None:
        """Cancel the waiters of an operation that was cancelled, possibly before its first step."""
        self._forget(key, future)
        future.cancel()  # without effect on one that is done

    def _forget(self, key: Hashable, future: asyncio.Future[Result]) -> None:
        if self._running.get(key) is future:
            del self._running[key]


class _Shared(asyncio.Future[Result]):
    """A future that calls `on_deserted` when the last caller stops waiting: each one has a callback on it."""

    on_deserted: Callable[[], None] | None = None
    _callers = 0

    def add_done_callback(
        self, callback: Callable[[Self], object], /, *, context: Context | None = None
    ) -> None:
        self._callers += 1
        super().add_done_callback(callback, context=context)

    def remove_done_callback(self, callback: Callable[[Self], object], /) -> int:
        removed = super().remove_done_callback(callback)
        self._callers -= removed
        if removed and not self._callers and not self.done() and self.on_deserted is not None:
            self.on_deserted()
        return removed


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
