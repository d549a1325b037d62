"""When a HEAD is worth a request."""

from __future__ import annotations

from registry_proxy.policy.heads import AFTER_FAILURE, AFTER_REFUSAL, Heads


def test_a_head_is_tried_at_first() -> None:
    assert Heads().may_help(0.0)


def test_a_refused_head_is_tried_again_after_an_hour() -> None:
    heads = Heads()
    heads.refused(100.0)
    assert not heads.may_help(100.0 + AFTER_REFUSAL - 1)
    assert heads.may_help(100.0 + AFTER_REFUSAL)


def test_pauses_after_failures_double_up_to_an_hour() -> None:
    heads, now, pauses = Heads(), 0.0, []
    for _ in range(8):
        heads.failed(now)
        pauses.append(heads.paused_until - now)
        now = heads.paused_until
    assert pauses == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]


def test_a_head_that_works_ends_the_doubling() -> None:
    heads = Heads()
    heads.failed(0.0)
    heads.failed(60.0)
    heads.helped()
    heads.failed(200.0)
    assert heads.paused_until == 200.0 + AFTER_FAILURE
