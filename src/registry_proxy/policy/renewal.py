"""When a certificate is renewed, and when an attempt that failed is repeated. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

# Let's Encrypt allows five failed validations of a name an hour.
_PAUSES = (60.0, 300.0, 900.0, 1800.0, 3600.0)
_SUSTAINABLE_PAUSE = 720.0
_LONGEST_PAUSE = 86400.0
# RFC 9773, section 4.3.2 and 4.3.3: how often to ask for the server's word on renewal.
_LOOK_EVERY = 6 * 3600.0
_SHORTEST_LOOK, _LONGEST_LOOK = 60.0, 86400.0


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `stop`."""

    start: float
    stop: float

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError("a span must end after its start")

    def at(self, part: float) -> float:
        """The time at `part` of the span: 0 is its start, 1 its end."""
        return self.start + (self.stop - self.start) * part


def renew_at(validity: Span, suggested: Span | None, chance: float) -> float:
    """When to renew a certificate that is valid for `validity`; `chance`, 0 to 1, spreads many of them.

    The server's suggestion counts (RFC 9773, section 4.2), unless it would let the certificate all but expire. Without
    one it is the beginning of the last third.
    """
    if suggested is not None:
        return min(suggested.at(chance), validity.at(0.95))
    return validity.at(2 / 3 + chance / 30)


def try_again_at(failed_at: float, failures: int, retry_after: float | None, chance: float) -> float:
    """When to try again after `failures` failures in a row, the last one at `failed_at`.

    `retry_after` are the seconds that the server asks for; `chance`, 0 to 1, makes the pause up to a fifth longer.
    """
    pause = _PAUSES[min(failures, len(_PAUSES)) - 1] * (1 + chance / 5)
    return failed_at + min(max(pause, retry_after or 0.0), _LONGEST_PAUSE)


def try_again_after_start(failed_at: float, due: float) -> float:
    """When to try again after a start: what failed may have been mended, but the start may be one of many, too."""
    return min(due, failed_at + _SUSTAINABLE_PAUSE)


def look_again_after(retry_after: float | None) -> float:
    """Seconds until the server is asked again when to renew; `retry_after` is what it asked for."""
    return min(max(retry_after or _LOOK_EVERY, _SHORTEST_LOOK), _LONGEST_LOOK)
