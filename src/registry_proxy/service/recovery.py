"""Recovery from an index that fails at run time: all workers end, and the store is prepared again as at the start."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from registry_proxy.service.worker import INDEX_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# The exit code of a worker whose index has failed (sysexits.h, EX_TEMPFAIL).
INDEX_FAILED = 75
# In seconds. A second failure within the first time means that the checks do not find the damage.
_SUSPICIOUS = 300.0
_END_TIMEOUT = 10.0
_PAUSE = 10.0
_PREPARATION_TIMEOUT = 900.0


class IndexRecovery:
    """State of a recovery. `prepare` starts a process that prepares the store, and returns its ID.

    Its argument is whether to replace the index also if no damage is found. The index can only be replaced while no
    worker has it open.
    """

    def __init__(self, prepare: Callable[[bool], int]) -> None:
        self._prepare = prepare
        self.active = False
        self.process: int | None = None
        self._replace = False
        self._due = 0.0  # the time of the next preparation
        self._deadline = 0.0  # the time at which the workers, or the preparation, must have ended
        self._recovered_at = float("-inf")

    def begin(self) -> None:
        """Begin, after the end of the first worker. The others have been asked to end."""
        now = time.monotonic()
        self.active = True
        self._replace = now - self._recovered_at < _SUSPICIOUS
        self._due = now
        self._deadline = now + INDEX_GRACE + _END_TIMEOUT

    def advance(self, *, workers: bool) -> bool:
        """Prepare the store once there are no workers. Return whether the remaining ones are late."""
        now = time.monotonic()
        if not self.active:
            return False
        if workers:
            return now >= self._deadline
        if self.process is None and now >= self._due:
            self._deadline = now + _PREPARATION_TIMEOUT
            self.process = self._prepare(self._replace)
        elif self.process is not None and now >= self._deadline:
            os.kill(self.process, signal.SIGKILL)
        return False

    def abort(self) -> None:
        """End a preparation in progress. The next start repeats it."""
        if self.process is not None:
            os.kill(self.process, signal.SIGKILL)

    def end_preparation(self, process: int, status: int) -> bool:
        """Return whether the process that ended has prepared the store, so that workers can start."""
        if process != self.process:
            return False
        self.process = None
        if status != 0:
            self._due = time.monotonic() + _PAUSE
            log.error("the store is not usable, the next attempt is in %.0f s. Check the disk.", _PAUSE)
            return False
        self.active = False
        self._recovered_at = time.monotonic()
        return True
