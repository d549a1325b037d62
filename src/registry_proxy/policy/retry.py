"""Number of attempts to resume an interrupted download, and the pauses before them."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_WAIT = 60.0  # seconds
# Seconds.
_PAUSES = (0.2, 1.0, 3.0, 8.0)


@dataclass(frozen=True, slots=True)
class RetryState:
    """Number of consecutive attempts that failed without progress."""

    failures: int = 0

    def after(self, *, progressed: bool) -> RetryState:
        """Return the state after a failed attempt. An attempt that received bytes restarts the count at one."""
        return RetryState(1 if progressed else self.failures + 1)

    @property
    def pause(self) -> float | None:
        """Seconds until the next attempt, or None if no attempts are left."""
        return _PAUSES[self.failures - 1] if 0 < self.failures <= len(_PAUSES) else None

    def wait(self, retry_after: float | None) -> float | None:
        """Return the pause, extended to the `retry_after` of the upstream (seconds), up to a minute."""
        if self.pause is None or retry_after is None:
            return self.pause
        return max(self.pause, min(retry_after, LONGEST_WAIT))
