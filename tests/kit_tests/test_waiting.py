"""Waiting ends with the condition, and a late one is named."""

from __future__ import annotations

import pytest
from tests.kit.waiting import until, wait_until


def test_waiting_ends_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True, False])
    wait_until(lambda: next(answers))
    assert list(answers) == [False]


async def test_waiting_in_the_event_loop_ends_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True, False])
    await until(lambda: next(answers))
    assert list(answers) == [False]


def test_a_late_condition_is_named_with_what_explains_it() -> None:
    with pytest.raises(TimeoutError, match=r"not so within 0\.01 s: .*not True.*\nthe log"):
        wait_until(lambda: not True, seconds=0.01, fail_with=lambda: "the log")


async def test_a_late_condition_is_named_in_the_event_loop() -> None:
    with pytest.raises(TimeoutError, match=r"not so within 0\.01 s: .*not True"):
        await until(lambda: not True, seconds=0.01)


def test_a_condition_without_source_can_be_late_too() -> None:
    with pytest.raises(TimeoutError, match=r"not so within 0\.01 s: .*isspace"):
        wait_until("".isspace, seconds=0.01)
