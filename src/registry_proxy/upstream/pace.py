"""The floor for upstreams: a transfer that is slower is not worth a wait."""

from __future__ import annotations


class Pace:
    """The bytes of one transfer during the time spent waiting for them.

    Only that time counts: a slow client, or a slow disk, is not the upstream's fault. `least` is in bytes per second,
    `period` in seconds.
    """

    def __init__(self, least: float, period: float) -> None:
        self._least = least
        self._period = period
        self._bytes = 0
        self._waited = 0.0

    def is_too_slow(self, received: int, waited: float) -> bool:
        """Record a piece, and return whether the period that ends with it was below the floor."""
        self._bytes += received
        self._waited += waited
        if self._waited < self._period:
            return False
        is_slow = self._bytes < self._least * self._waited
        self._bytes, self._waited = 0, 0.0
        return is_slow
