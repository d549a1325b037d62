"""Sizes, counts and times as text."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.filesize import decimal

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size_text(size: int) -> str:
    """Return a number of bytes with a decimal unit."""
    text = decimal(abs(size)).replace(" bytes", " B").replace(" byte", " B")
    return f"-{text}" if size < 0 else text


def count_text(count: int) -> str:
    """Return a number in at most five characters."""
    if count < 100_000:
        return str(count)
    for unit in "kMG":
        count, rest = divmod(count, 1000)
        if count < 1000:
            return f"{count}.{rest // 100}{unit}" if count < 100 else f"{count}{unit}"
    return f"{count}G"


def percent(part: int, whole: int) -> str:
    """Return `part` of `whole` in percent, or a hyphen if `whole` is 0."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def ago(at: float | None, now: float) -> str:
    """Return the age of a time. None and 0 mean never."""
    if not at:
        return "never"
    seconds = int(now - at)
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def local_time(at: float) -> str:
    """Return a time for people, in this machine's time zone, which it names."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M %Z}"


def clock_time(at: float) -> str:
    """Return a time of today for people, to the second."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S %Z}"


def timestamp(at: float | None) -> str | None:
    """Return a time for programs (RFC 3339, in UTC), or None for never."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
