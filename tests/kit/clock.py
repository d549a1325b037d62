"""A clock that only a test moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ManualClock:
    """Seconds that pass when told. Call it to read it, as one calls `time.monotonic`."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        """Return the current second."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds
