from __future__ import annotations

import time

import pytest

from registry_proxy.commands.formatting import ago, count_text, local_time, percent, size_text, timestamp


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1, "1 B"), (999, "999 B"), (1500, "1.5 kB"), (-2_000_000, "-2.0 MB"), (10**13, "10.0 TB")],
)
def test_sizes_have_units(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (99_999, "99999"),
        (123_456, "123k"),
        (1_234_567, "1.2M"),
        (98_765_432, "98.7M"),
        (10**12, "1000G"),
    ],
)
def test_large_numbers_are_short(count: int, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "never"),
        (0.0, "never"),
        (1000.0, "just now"),
        (1001.0, "just now"),
        (990.0, "10 s ago"),
        (900.0, "1 min ago"),
        (1000.0 - 7200, "2 h ago"),
        (1000.0 - 86400 * 3, "3 d ago"),
    ],
)
def test_times_are_told_by_their_distance(at: float | None, text: str) -> None:
    assert ago(at, 1000.0) == text


def test_shares_of_nothing_are_none() -> None:
    assert (percent(1, 3), percent(0, 0)) == ("33 %", "-")


def test_times_for_people_name_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert local_time(86400.0) == "1970-01-02 05:30 IST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_programs_get_times_in_utc() -> None:
    assert (timestamp(1.0), timestamp(0.0), timestamp(None)) == ("1970-01-01T00:00:01Z", None, None)
