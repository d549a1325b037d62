"""Tuning of the C library's memory allocator."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Largest buffer that is allocated from the heap, and free memory kept at the heap's end, in bytes.
_LARGEST_BUFFER = 4 * 1024 * 1024
_KEPT = 32 * 1024 * 1024


def keep_freed_buffers() -> None:
    """Keep up to 32 MiB of freed memory for the next buffers.

    A transfer allocates and frees buffers of 256 KiB all the time. By default the kernel maps and zeroes the pages of
    each again, which took up to half of a fill's processor time. Do nothing if the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BUFFER)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
