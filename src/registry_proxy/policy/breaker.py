"""Circuit breaker: after a failure, upstream gets no requests for a while."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Breaker:
    """State of one upstream. Times are seconds of any monotonic clock."""

    failures: int = 0
    paused_until: float = 0.0

    @property
    def failing(self) -> bool:
        """True after a failed request. Then cached content is served without waiting for the next request."""
        return self.failures > 0

    def may_ask(self, now: float) -> bool:
        """Return whether a request may be sent."""
        return now >= self.paused_until

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Record a failed request. Pauses double from 5 s to 60 s; `retry_after` extends them up to 60 s.

        A request that fails during a pause was sent before it, or regardless of it. It does not double the next pause.
        """
        if now >= self.paused_until:
            self.paused_until = now + min(FIRST_PAUSE * 2 ** min(self.failures, 10), LONGEST_PAUSE)
            self.failures += 1
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + min(retry_after, LONGEST_PAUSE))

    def succeeded(self) -> None:
        """Record a successful request and close the breaker."""
        self.failures = 0
        self.paused_until = 0.0
