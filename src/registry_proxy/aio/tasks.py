"""Background tasks: they outlive the request that started them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

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
