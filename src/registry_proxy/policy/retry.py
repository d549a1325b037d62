"""How often, and after what pause, a transfer that broke off is resumed."""

from __future__ import annotations

from dataclasses import dataclass

_PAUSES = (0.2, 1.0, 3.0, 8.0)


@dataclass(frozen=True, slots=True)
class RetryState:
    """Attempts in a row that brought no byte."""

    fruitless: int = 0

    def after(self, *, progressed: bool) -> RetryState:
        """The state after an attempt broke off. One that brought bytes starts the count anew."""
        return RetryState(1 if progressed else self.fruitless + 1)

    @property
    def pause(self) -> float | None:
        """Seconds until the next attempt; None when it is time to give up."""
        return _PAUSES[self.fruitless - 1] if 0 < self.fruitless <= len(_PAUSES) else None
