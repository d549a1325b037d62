"""When a tag may be answered from what is known, and what to do when the upstream can't be asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Freshness:
    """The rules, in seconds.

    `tag_ttl`: how long a tag is answered without asking upstream.
    `access_ttl`: how long the upstream's word that a repository holds a digest counts, once it refuses to say it again.
    `keep_deleted`: whether what the upstream has deleted is still served.
    """

    tag_ttl: float
    access_ttl: float
    keep_deleted: bool


class Decision(Enum):
    """What to do about a tag."""

    SERVE = "serve"
    REVALIDATE = "revalidate"
    FETCH = "fetch"


def decide(checked_at: float | None, now: float, rules: Freshness) -> Decision:
    """What to do about a tag that was last checked at `checked_at` (None: never)."""
    if checked_at is None:
        return Decision.FETCH
    # A check in the future means that the clock was set back: trust it no longer than one that is due.
    return Decision.SERVE if 0 <= now - checked_at < rules.tag_ttl else Decision.REVALIDATE


def access_is_trusted(confirmed_at: float, now: float, rules: Freshness) -> bool:
    """Whether a link still counts without a word from upstream."""
    return now - confirmed_at < rules.access_ttl


class UpstreamFailure(Enum):
    """Why the upstream gave no answer to use."""

    OUTAGE = "outage"  # unreachable, timed out, 429 or 5xx: it says nothing about the content
    REFUSED = "refused"  # 401 or 403: our credentials, or our access, are no longer good
    GONE = "gone"  # 404


class Fallback(Enum):
    """What to do with the copy that is there."""

    SERVE_STALE = "serve stale"
    REPORT = "report the failure"
    FORGET = "forget the copy and report the failure"


def fall_back(failure: UpstreamFailure, confirmed_at: float, now: float, rules: Freshness) -> Fallback:
    """What becomes of a copy, last confirmed at `confirmed_at`, when the upstream failed.

    An access that was withdrawn must not live on for ever in the cache (CVE-2026-35172), but wrong credentials must
    not stop a cluster at once either: a refusal counts after `access_ttl`.
    """
    match failure:
        case UpstreamFailure.OUTAGE:
            return Fallback.SERVE_STALE
        case UpstreamFailure.REFUSED:
            return Fallback.SERVE_STALE if access_is_trusted(confirmed_at, now, rules) else Fallback.REPORT
        case UpstreamFailure.GONE:
            return Fallback.SERVE_STALE if rules.keep_deleted else Fallback.FORGET
