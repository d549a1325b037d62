"""Waiting for a condition of which no event tells: another process's work, or a thread's.

The time limit is only for tests that fail, so it is long enough for a machine that is ten times slower.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 120.0
_INTERVAL = 0.02


def wait_until(
    holds: Callable[[], bool], *, seconds: float = TIMEOUT, fail_with: Callable[[], str] = lambda: ""
) -> None:
    """Poll a condition until it holds. Raise TimeoutError, with the text of `fail_with`, if it is late."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(_late(holds, seconds) + fail_with())
        time.sleep(_INTERVAL)


async def until(holds: Callable[[], bool], *, seconds: float = TIMEOUT) -> None:
    """Poll a condition in the event loop until it holds. Raise TimeoutError if it is late."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(_late(holds, seconds))
        await asyncio.sleep(_INTERVAL / 4)


def _late(holds: Callable[[], bool], seconds: float) -> str:
    try:
        condition = inspect.getsource(holds).strip()
    except (OSError, TypeError):
        condition = repr(holds)
    return f"not so within {seconds} s: {condition}\n"
