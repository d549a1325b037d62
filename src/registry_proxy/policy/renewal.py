"""Schedule of certificate renewal, and of retries after a failure. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds. Let's Encrypt allows five failed validations per host name and hour.
_PAUSES = (60.0, 300.0, 900.0, 1800.0, 3600.0)
_SUSTAINABLE_PAUSE = 720.0
_LONGEST_PAUSE = 86400.0
# Seconds between requests for the renewal window (RFC 9773, sections 4.3.2 and 4.3.3).
_RECHECK_INTERVAL = 6 * 3600.0
_SHORTEST_INTERVAL, _LONGEST_INTERVAL = 60.0, 86400.0


@dataclass(frozen=True, slots=True)
class Span:
    """The time from `start` to `stop`."""

    start: float
    stop: float

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError("a span must end after its start")

    def at(self, part: float) -> float:
        """Return the time at `part` of the span: 0 is its start, 1 its end."""
        return self.start + (self.stop - self.start) * part


def renew_at(validity: Span, suggested: Span | None, jitter: float) -> float:
    """Return when to renew a certificate that is valid for `validity`. `jitter`, 0 to 1, spreads many renewals.

    The CA's suggested window takes precedence (RFC 9773, section 4.2), but not beyond 95 % of the validity. Without a
    window, renewal is due at the start of the last third.
    """
    if suggested is not None:
        return min(suggested.at(jitter), validity.at(0.95))
    return validity.at(2 / 3 + jitter / 30)


def retry_at(failed_at: float, failures: int, retry_after: float | None, jitter: float) -> float:
    """Return when to retry after `failures` consecutive failures, the last one at `failed_at`.

    `retry_after` is the CA's minimum pause in seconds. `jitter`, 0 to 1, extends the pause by up to a fifth.
    """
    pause = _PAUSES[min(failures, len(_PAUSES)) - 1] * (1 + jitter / 5)
    return failed_at + min(max(pause, retry_after or 0.0), _LONGEST_PAUSE)


def retry_at_after_start(failed_at: float, due: float) -> float:
    """Return when to retry after a restart: earlier than `due`, since the cause may be fixed.

    A server that restarts in a loop still keeps the CA's rate limit.
    """
    return min(due, failed_at + _SUSTAINABLE_PAUSE)


def recheck_after(retry_after: float | None) -> float:
    """Return the seconds until the next request for the renewal window. `retry_after` is the CA's `Retry-After`."""
    return min(max(retry_after or _RECHECK_INTERVAL, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)
