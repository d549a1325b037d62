"""Memory of a worker: tuning of the C library's allocator, and the return of freed memory."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

from registry_proxy.aio.pools import HOUSEKEEPING

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Largest buffer that is allocated from the heap, and free memory kept at the heap's end, in bytes.
_LARGEST_BUFFER = 4 * 1024 * 1024
_KEPT = 32 * 1024 * 1024
# Seconds between two returns of freed memory, and the growth in bytes that is worth one.
_INTERVAL = 10.0
_GROWTH = 16 * 1024 * 1024


def keep_freed_buffers() -> None:
    """Keep up to 32 MiB of freed memory for the next buffers.

    A transfer allocates and frees buffers of 256 KiB all the time. By default the kernel maps and zeroes the pages of
    each again, which took up to half of a fill's processor time. Do nothing if the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BUFFER)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


async def return_freed_memory(interval: float = _INTERVAL) -> None:
    """Return freed memory to the operating system at intervals, until cancelled.

    Many connections at once leave holes in the heap, which glibc keeps. Do nothing if the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return
    least = resident()
    while True:
        await asyncio.sleep(interval)
        if resident() > least + _GROWTH:
            await HOUSEKEEPING.run(trim, 0)
        least = min(least, resident())


def resident() -> int:
    """Return the memory that this process has, in bytes (proc(5), statm)."""
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
