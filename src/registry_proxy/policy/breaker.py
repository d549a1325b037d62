"""A circuit breaker: an upstream that failed isn't asked again for a moment."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Breaker:
    """The state of one upstream. Times are seconds of any steady clock."""

    failures: int = 0
    paused_until: float = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last answer was a failure: what is cached should not wait for the next one."""
        return self.failures > 0

    def may_ask(self, now: float) -> bool:
        """Whether a try is due."""
        return now >= self.paused_until

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Note a failure; pauses double from 5 s to a minute, or last as long as the upstream asks within that.

        What fails during a pause was asked before it, or all the same: it doesn't make the next pause longer.
        """
        if now >= self.paused_until:
            self.paused_until = now + min(FIRST_PAUSE * 2 ** min(self.failures, 10), LONGEST_PAUSE)
            self.failures += 1
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + min(retry_after, LONGEST_PAUSE))

    def succeeded(self) -> None:
        """Note an answer."""
        self.failures = 0
        self.paused_until = 0.0
