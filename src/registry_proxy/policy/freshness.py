"""Freshness of tags, and the fallback when upstream gives no usable response."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# How far in the future a confirmation may be, in seconds: clocks are adjusted by small steps all the time.
CLOCK_TOLERANCE = 60.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """The rules. Durations are seconds.

    `tag_ttl`: how long a tag is served without a request to upstream.
    `access_ttl`: how long a link stays valid after upstream confirmed it, once upstream refuses access.
    `keep_deleted`: whether content that upstream has deleted is still served.
    """

    tag_ttl: float
    access_ttl: float
    keep_deleted: bool


def is_fresh(checked_at: float | None, now: float, rules: Freshness) -> bool:
    """Return whether a tag may be served without a request to upstream.

    `checked_at` is the time of the last check, None if there was none. A check in the future means that the clock was
    set back: it counts as expired.
    """
    return checked_at is not None and 0 <= now - checked_at < rules.tag_ttl


def access_is_trusted(confirmed_at: float, now: float, rules: Freshness) -> bool:
    """Return whether a link, confirmed at `confirmed_at` (0: never), grants access without a new confirmation."""
    # A confirmation in the future means that the clock was set back: it is not trusted.
    return confirmed_at > 0 and -CLOCK_TOLERANCE <= now - confirmed_at < rules.access_ttl


class UpstreamFailure(Enum):
    """Reason why upstream gave no usable response."""

    OUTAGE = "outage"  # unreachable, timed out, 429 or 5xx: no statement about the content
    REFUSED = "refused"  # 401 or 403: the upstream credentials, or their access, are no longer valid
    GONE = "gone"  # 404


class Fallback(Enum):
    """Treatment of the cached copy."""

    SERVE_STALE = "serve stale"
    REPORT = "report the failure"
    FORGET = "forget the copy and report the failure"


def fall_back(failure: UpstreamFailure, confirmed_at: float, now: float, rules: Freshness) -> Fallback:
    """Return what happens to a copy, last confirmed at `confirmed_at`, when upstream fails.

    Revoked access must not live on in the cache for ever (CVE-2026-35172), but wrong credentials must not stop a
    cluster at once either. So a refusal takes effect after `access_ttl`.
    """
    match failure:
        case UpstreamFailure.OUTAGE:
            return Fallback.SERVE_STALE
        case UpstreamFailure.REFUSED:
            return Fallback.SERVE_STALE if access_is_trusted(confirmed_at, now, rules) else Fallback.REPORT
        case UpstreamFailure.GONE:
            return Fallback.SERVE_STALE if rules.keep_deleted else Fallback.FORGET
