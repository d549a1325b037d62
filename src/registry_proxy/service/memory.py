"""How the C library gives memory back."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_BUFFER = 4 * 1024 * 1024
_KEPT = 32 * 1024 * 1024


def keep_freed_buffers() -> None:
    """Keep up to 32 MiB of freed memory for the next buffers.

    A transfer allocates and frees buffers of 256 KiB all the time. By default each may be mapped, and zeroed page by
    page, anew: that took up to half of a fill's processor time. Does nothing where the C library isn't glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BUFFER)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
