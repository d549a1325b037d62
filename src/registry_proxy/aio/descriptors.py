"""Waiting for a file descriptor that belongs to no stream or transport."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def readable(descriptor: int) -> asyncio.Future[None]:
    """Return a future that is done once the descriptor can be read. Only one may wait at a time."""
    loop = asyncio.get_running_loop()
    return _ready(descriptor, loop.add_reader, loop.remove_reader)


def writable(descriptor: int) -> asyncio.Future[None]:
    """Return a future that is done once the descriptor can be written. Only one may wait at a time."""
    loop = asyncio.get_running_loop()
    return _ready(descriptor, loop.add_writer, loop.remove_writer)


def _ready(descriptor: int, add: Callable[..., None], remove: Callable[[int], bool]) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(descriptor, partial(_wake, future, remove, descriptor))
    # A wait that is cancelled must not leave its callback with the loop.
    future.add_done_callback(lambda _: remove(descriptor))
    return future


def _wake(future: asyncio.Future[None], remove: Callable[[int], bool], descriptor: int) -> None:
    remove(descriptor)
    if not future.done():
        future.set_result(None)
