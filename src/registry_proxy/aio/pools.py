"""Pools of threads, one for each kind of work that blocks. Work that hangs delays only its own kind."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# In bytes. A document of this size takes about 2 ms, a hop to a thread 0.1 ms.
_SHORT = 64 * 1024


class Pool:
    """At most `threads` threads of this process. They start when they are needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._open()
        # A worker has none of the threads that the supervisor had.
        os.register_at_fork(after_in_child=self._open)

    def _open(self) -> None:
        self._executor = ThreadPoolExecutor(self._threads, self._name)

    def submit(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> asyncio.Future[Result]:
        """Start `function` in a thread. Return the future of its result."""
        return asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Return the result of `function`, which runs in a thread. A cancelled wait does not end the function."""
        return await self.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Wait until everything that was submitted has ended."""
        self._executor.shutdown()

    def end_threads(self) -> None:
        """Wait until everything that was submitted has ended, and end the threads until others are needed."""
        self.close()
        self._open()


# Reads of the store: a slow sync of a large blob must not delay a manifest.
READING = Pool("read", 8)
# Writes and syncs of the store.
STORING = Pool("store", 8)
# Deletions and listings of the store: their number is large, and no client waits for them.
HOUSEKEEPING = Pool("housekeeping", 2)
# Long queries of the index.
SURVEYS = Pool("survey", 2)
# Large or hostile documents, and hashes.
PARSING = Pool("parse", 2)


async def parse(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Return the result of a parser, in a thread if a document among its arguments is long.

    The event loop then continues after at most 5 ms, the interval in which Python changes threads, and the decoding of
    the document, which cannot be interrupted.
    """
    if any(isinstance(each, bytes) and len(each) > _SHORT for each in args):
        return await PARSING.run(function, *args, **kwargs)
    return function(*args, **kwargs)


async def finish_storing() -> None:
    """Wait until content that is complete is stored. Afterwards, nothing more can be stored in this process."""
    await HOUSEKEEPING.run(STORING.close)


def end_threads() -> None:
    """End the threads of all pools. A process that forks, or waits for signals, must have none."""
    for pool in (READING, STORING, HOUSEKEEPING, SURVEYS, PARSING):
        pool.end_threads()
