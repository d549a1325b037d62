"""When a tag is revalidated, and what happens to a copy when upstream fails."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.policy.freshness import (
    Fallback,
    Freshness,
    UpstreamFailure,
    access_is_trusted,
    fall_back,
    is_fresh,
)

RULES = Freshness(tag_ttl=60.0, access_ttl=3600.0, keep_deleted=True)
SECONDS = st.floats(0, 1e10)


@pytest.mark.parametrize(
    ("checked_at", "now", "ttl", "fresh"),
    [
        (None, 1000, 60, False),
        (None, 1000, 0, False),
        (1000, 1000, 60, True),
        (1000, 1059.9, 60, True),
        (1000, 1060, 60, False),
        (1000, 9000, 60, False),
        (1000, 1000, 0, False),
        # The clock was set back.
        (1000, 999, 60, False),
        (1000, 0, 60, False),
    ],
)
def test_tags(checked_at: float | None, now: float, ttl: float, fresh: bool) -> None:
    assert is_fresh(checked_at, now, dataclasses.replace(RULES, tag_ttl=ttl)) is fresh


@given(SECONDS, SECONDS, st.floats(0, 1e6))
def test_no_tag_is_served_unasked_for_longer_than_its_time(checked_at: float, now: float, ttl: float) -> None:
    served = is_fresh(checked_at, now, dataclasses.replace(RULES, tag_ttl=ttl))
    assert served == (checked_at <= now and now - checked_at < ttl)


@pytest.mark.parametrize(
    ("confirmed_at", "now", "trusted"),
    [
        (1000, 1000, True),
        (1000, 4599, True),
        (1000, 4600, False),
        (1000, 99999, False),
        (1000, 0, False),
        (0, 1, False),
    ],
)
def test_access_counts_for_its_time(confirmed_at: float, now: float, trusted: bool) -> None:
    assert access_is_trusted(confirmed_at, now, RULES) is trusted


@pytest.mark.parametrize(
    ("failure", "age", "keep_deleted", "fallback"),
    [
        (UpstreamFailure.OUTAGE, 0, True, Fallback.SERVE_STALE),
        (UpstreamFailure.OUTAGE, 10**9, False, Fallback.SERVE_STALE),
        (UpstreamFailure.REFUSED, 0, True, Fallback.SERVE_STALE),
        (UpstreamFailure.REFUSED, 3599, False, Fallback.SERVE_STALE),
        (UpstreamFailure.REFUSED, 3600, True, Fallback.REPORT),
        (UpstreamFailure.REFUSED, 10**9, False, Fallback.REPORT),
        (UpstreamFailure.GONE, 0, True, Fallback.SERVE_STALE),
        (UpstreamFailure.GONE, 10**9, True, Fallback.SERVE_STALE),
        (UpstreamFailure.GONE, 0, False, Fallback.FORGET),
        (UpstreamFailure.GONE, 10**9, False, Fallback.FORGET),
    ],
)
def test_fallbacks(failure: UpstreamFailure, age: float, keep_deleted: bool, fallback: Fallback) -> None:
    rules = dataclasses.replace(RULES, keep_deleted=keep_deleted)
    assert fall_back(failure, 1000.0, 1000.0 + age, rules) is fallback
