"""When certificates are renewed, and failed attempts repeated."""

from __future__ import annotations

import pytest

from registry_proxy.policy.renewal import (
    Span,
    recheck_after,
    renew_at,
    retry_at,
    retry_at_after_start,
)

DAY = 86400.0
NINETY_DAYS = Span(0, 90 * DAY)


@pytest.mark.parametrize(
    ("validity", "suggested", "jitter", "expected"),
    [
        # The last third of the lifetime, spread over its first tenth.
        (NINETY_DAYS, None, 0.0, 60 * DAY),
        (NINETY_DAYS, None, 1.0, 63 * DAY),
        (Span(10 * DAY, 16 * DAY), None, 0.0, 14 * DAY),
        # The CA's suggestion: a time in its window, earlier or later than that.
        (NINETY_DAYS, Span(70 * DAY, 72 * DAY), 0.5, 71 * DAY),
        (NINETY_DAYS, Span(-2 * DAY, -1 * DAY), 0.5, -1.5 * DAY),
        # ... but never so late that there is no time to fix a failure.
        (NINETY_DAYS, Span(89 * DAY, 95 * DAY), 1.0, 85.5 * DAY),
    ],
)
def test_a_certificate_is_renewed_in_time(
    validity: Span, suggested: Span | None, jitter: float, expected: float
) -> None:
    assert renew_at(validity, suggested, jitter) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("failures", "retry_after", "jitter", "expected"),
    [
        (1, None, 0.0, 60),
        (1, None, 1.0, 72),
        (2, None, 0.0, 300),
        (3, None, 0.0, 900),
        (4, None, 0.0, 1800),
        (5, None, 0.0, 3600),
        (50, None, 0.0, 3600),
        (1, 10.0, 0.0, 60),
        (1, 7200.0, 1.0, 7200),
        (1, 7 * DAY, 0.0, DAY),
    ],
)
def test_attempts_become_rarer_and_heed_the_server(
    failures: int, retry_after: float | None, jitter: float, expected: float
) -> None:
    assert retry_at(1000.0, failures, retry_after, jitter) == pytest.approx(1000 + expected)


def test_there_are_no_more_than_five_failures_in_an_hour() -> None:
    times, now = [0.0], 0.0
    for failures in range(1, 20):
        now = retry_at(now, failures, None, 0.0)
        times.append(now)
    assert all(later - earlier >= 3600 for earlier, later in zip(times, times[5:], strict=False))


@pytest.mark.parametrize(
    ("failed_at", "due", "expected"), [(0.0, 60.0, 60.0), (0.0, 3600.0, 720.0), (5000.0, 5300.0, 5300.0)]
)
def test_a_start_shortens_a_long_wait(failed_at: float, due: float, expected: float) -> None:
    assert retry_at_after_start(failed_at, due) == expected


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(None, 21600), (0.0, 21600), (5.0, 60), (3600.0, 3600), (7 * DAY, DAY)]
)
def test_the_server_is_asked_again_when_it_says_within_reason(
    retry_after: float | None, expected: float
) -> None:
    assert recheck_after(retry_after) == expected


def test_a_span_has_a_length() -> None:
    with pytest.raises(ValueError, match="after its start"):
        Span(1, 1)
