"""How often a transfer is resumed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.policy.retry import RetryState


def pauses(attempts: list[bool]) -> list[float | None]:
    """The pause after each attempt; True stands for one that brought bytes."""
    state, found = RetryState(), []
    for progressed in attempts:
        state = state.after(progressed=progressed)
        found.append(state.pause)
    return found


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], []),
        ([False], [0.2]),
        ([True], [0.2]),
        ([False] * 5, [0.2, 1.0, 3.0, 8.0, None]),
        ([False] * 7, [0.2, 1.0, 3.0, 8.0, None, None, None]),
        ([True] * 5, [0.2] * 5),
        ([False, False, True, False], [0.2, 1.0, 0.2, 1.0]),
        ([False] * 4 + [True, False], [0.2, 1.0, 3.0, 8.0, 0.2, 1.0]),
    ],
)
def test_pauses(attempts: list[bool], expected: list[float | None]) -> None:
    assert pauses(attempts) == expected


@pytest.mark.parametrize(
    ("failures", "retry_after", "expected"),
    [(1, None, 0.2), (1, 0, 0.2), (1, 7, 7), (4, 7, 8.0), (2, 3600, 60.0), (5, 7, None)],
)
def test_a_wait_is_at_least_what_the_upstream_wants_up_to_a_minute(
    failures: int, retry_after: float | None, expected: float | None
) -> None:
    assert RetryState(failures).wait(retry_after) == expected


def test_nothing_has_been_tried_yet() -> None:
    assert RetryState().pause is None


@given(st.lists(st.booleans(), max_size=40))
def test_five_attempts_in_a_row_without_a_byte_are_the_end(attempts: list[bool]) -> None:
    for end, pause in enumerate(pauses(attempts), start=1):
        last = attempts[:end]
        failures = len(last) - 1 - max((at for at, progressed in enumerate(last) if progressed), default=-1)
        began_with_bytes = any(last)
        assert (pause is None) == (failures + began_with_bytes > 4)
