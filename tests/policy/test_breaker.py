"""The pauses in which a failing upstream isn't asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.policy.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker


def test_a_new_one_is_closed() -> None:
    breaker = Breaker()
    assert breaker.may_ask(0.0)
    assert not breaker.failing


def test_a_failure_begins_a_pause() -> None:
    breaker = Breaker()
    breaker.failed(100.0)
    assert breaker.failing
    assert not breaker.may_ask(100.0)
    assert not breaker.may_ask(104.9)
    assert breaker.may_ask(105.0)
    assert breaker.failing


def test_pauses_double_up_to_a_minute() -> None:
    breaker, now, pauses = Breaker(), 0.0, []
    for _ in range(7):
        breaker.failed(now)
        pauses.append(breaker.paused_until - now)
        now = breaker.paused_until
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_many_failures_at_once_are_one() -> None:
    breaker = Breaker()
    for _ in range(50):
        breaker.failed(100.0)
    assert breaker.paused_until == 105.0
    breaker.failed(105.0)
    assert breaker.paused_until == 115.0


def test_a_success_ends_all() -> None:
    breaker = Breaker()
    for now in (0.0, 5.0, 15.0):
        breaker.failed(now)
    breaker.succeeded()
    assert breaker.may_ask(15.0)
    assert not breaker.failing
    breaker.failed(15.0)
    assert breaker.paused_until == 20.0


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(0.0, 5.0), (3.0, 5.0), (30.0, 30.0), (60.0, 60.0), (86400.0, 60.0)]
)
def test_the_upstreams_own_wish_counts_within_a_minute(retry_after: float, pause: float) -> None:
    breaker = Breaker()
    breaker.failed(100.0, retry_after)
    assert breaker.paused_until == 100.0 + pause


def test_a_wish_that_comes_during_a_pause_counts_too() -> None:
    breaker = Breaker()
    breaker.failed(100.0)
    breaker.failed(101.0, 30.0)
    assert breaker.paused_until == 131.0


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 10**6), st.booleans()), max_size=30))
def test_no_pause_is_longer_than_a_minute(steps: list[tuple[float, float | None, bool]]) -> None:
    breaker, now = Breaker(), 0.0
    for wait, retry_after, succeeds in steps:
        now += wait
        if succeeds:
            breaker.succeeded()
            assert breaker.may_ask(now)
        else:
            breaker.failed(now, retry_after)
            assert not breaker.may_ask(now)
            assert breaker.paused_until <= now + LONGEST_PAUSE
    assert breaker.may_ask(now + LONGEST_PAUSE)
    assert FIRST_PAUSE < LONGEST_PAUSE
