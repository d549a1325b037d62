"""Work that belongs to the service and not to the request that began it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Spawns into the service's one TaskGroup; a failure is logged and doesn't end the group."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, object], name: str) -> asyncio.Task[None]:
        """Run `work` until it is done or the service stops."""
        task = self._tasks.create_task(_contained(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # One that is cancelled before its first step never awaits its work.
        task.add_done_callback(lambda _: work.close())
        return task

    def cancel(self) -> None:
        """End everything that is running."""
        for task in list(self._running):
            task.cancel()


async def _contained(work: Coroutine[object, object, object], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("%s failed; the server goes on, please report this", name)
