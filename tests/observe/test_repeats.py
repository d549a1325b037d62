"""How often a line is logged that clients or upstreams repeat."""

from __future__ import annotations

import logging

import pytest

from registry_proxy.observe.repeats import MAX_LINES, WINDOW, Repeats

NAME = "registry_proxy.server.failure_log"


def record(text: str, *values: object, name: str = NAME, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 1, text, values, None)


def admitted(repeats: Repeats, now: float, *records: logging.LogRecord) -> list[str]:
    return [line.getMessage() for each in records for line in repeats.admit(each, now)]


def test_an_identical_line_is_logged_once_and_counted_a_minute_later() -> None:
    repeats = Repeats()
    lines = [record("pull of %s failed", "alpine")] * 500
    assert admitted(repeats, 0.0, *lines) == ["pull of alpine failed"]
    assert list(repeats.summarize(WINDOW - 1)) == []
    [summary] = repeats.summarize(WINDOW)
    assert summary.getMessage() == "pull of alpine failed (repeated 499 times within a minute)"
    assert (summary.name, summary.levelno) == (NAME, logging.WARNING)
    assert list(repeats.summarize(2 * WINDOW)) == []
    assert admitted(repeats, 2 * WINDOW, lines[0]) == ["pull of alpine failed"]


def test_the_next_line_comes_after_the_summary_that_is_due() -> None:
    repeats = Repeats()
    line = record("pull of %s failed", "alpine")
    admitted(repeats, 0.0, line, line)
    assert admitted(repeats, WINDOW, line) == [
        "pull of alpine failed (repeated 1 times within a minute)",
        "pull of alpine failed",
    ]


def test_different_lines_of_one_kind_are_bounded_and_hide_no_other_kind() -> None:
    repeats = Repeats()
    guesses = [record("%s does not exist", number) for number in range(10_000)]
    assert len(admitted(repeats, 0.0, *guesses)) == MAX_LINES
    assert admitted(repeats, 0.0, record("pull of %s failed", "alpine")) == ["pull of alpine failed"]
    [summary] = repeats.summarize(WINDOW)
    assert summary.getMessage() == (
        f"{10_000 - MAX_LINES} more lines like the {MAX_LINES} above were left out within a minute"
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [
        (NAME, logging.INFO),
        (NAME, logging.DEBUG),
        ("registry_proxy.service.worker", logging.ERROR),
        ("registry_proxy.tls.manager", logging.ERROR),
        ("registry_proxy.server.logins", logging.WARNING),
    ],
)
def test_what_the_operator_causes_and_failed_logins_are_logged_each_time(name: str, level: int) -> None:
    lines = [record("reloaded", name=name, level=level)] * 100
    assert len(admitted(Repeats(), 0.0, *lines)) == 100
