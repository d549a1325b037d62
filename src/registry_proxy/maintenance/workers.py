"""Which workers are alive: each holds a lock, which the kernel frees when its process ends, however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from registry_proxy.aio.locks import ProcessLocks

# As many as `server.workers` may be.
_MOST = 256


class VisibleLocks(Protocol):
    """Locks between processes that can be looked at (`storage.locks.FileLocks`)."""

    def is_free(self, name: str) -> bool: ...


def register_worker(locks: ProcessLocks) -> None:
    """Be counted from now on, until `locks` are closed."""
    next((number for number in range(_MOST) if locks.try_acquire(_place(number))), None)


def count_workers(locks: VisibleLocks) -> int:
    """How many workers are alive on this store."""
    return sum(not locks.is_free(_place(number)) for number in range(_MOST))


def _place(number: int) -> str:
    return f"worker {number}"
