"""The `Date` header (RFC 9110, section 6.6.1), made once a second."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Dates:
    """The time, in seconds, and as the header line that ends a head. `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._line = b""

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    def end_of_head(self, now: float) -> bytes:
        """The `Date` line and the empty line that ends the head."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._line
