"""Usefulness of HEAD requests: a HEAD is a hint, and some registries refuse it, or fail, where a GET works."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds until a HEAD is tried again. A refusal is there to stay. A failure can be a short one, and Docker Hub counts
# each GET, so the first pause is short.
AFTER_REFUSAL = 3600.0
AFTER_FAILURE = 60.0


@dataclass(slots=True)
class Heads:
    """State of one registry. Times are seconds of any monotonic clock."""

    failures: int = 0
    paused_until: float = 0.0

    def may_help(self, now: float) -> bool:
        """Return whether to send a HEAD. Otherwise a GET is sent at once."""
        return now >= self.paused_until

    def helped(self) -> None:
        """Record a HEAD that worked."""
        self.failures = 0

    def refused(self, now: float) -> None:
        """Record a HEAD that was refused, or says nothing, where a GET worked."""
        self.paused_until = now + AFTER_REFUSAL

    def failed(self, now: float) -> None:
        """Record a HEAD that failed where a GET worked. Pauses double up to that of a refusal."""
        self.paused_until = now + min(AFTER_FAILURE * 2 ** min(self.failures, 10), AFTER_REFUSAL)
        self.failures += 1
