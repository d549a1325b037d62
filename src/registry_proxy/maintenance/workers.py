"""Registration of live workers: each holds a lock, which the kernel frees when the process ends for any reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from registry_proxy.aio.locks import ProcessLocks

# The maximum of `server.workers`.
_MOST = 256


class VisibleLocks(Protocol):
    """Locks between processes that can be checked without acquiring them (`storage.locks.FileLocks`)."""

    def is_free(self, name: str) -> bool: ...


def register_worker(locks: ProcessLocks) -> None:
    """Count this process as a worker until `locks` are closed."""
    next((number for number in range(_MOST) if locks.try_acquire(_place(number))), None)


def count_workers(locks: VisibleLocks) -> int:
    """Return the number of live workers on this store."""
    return sum(not locks.is_free(_place(number)) for number in range(_MOST))


def _place(number: int) -> str:
    return f"worker {number}"
