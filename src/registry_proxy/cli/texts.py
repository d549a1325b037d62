"""Sizes and times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.filesize import decimal

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def size_text(size: int) -> str:
    """Bytes with a unit of 1000."""
    return f"-{decimal(-size)}" if size < 0 else decimal(size)


def percent(part: int, whole: int) -> str:
    """A share, a hyphen for one of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def ago(at: float | None, now: float) -> str:
    """How long ago a time was; None and 0 stand for never."""
    if not at:
        return "never"
    seconds = int(now - at)
    for length, unit in _UNITS:
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def timestamp(at: float | None) -> str | None:
    """A time for programs (RFC 3339, in UTC); None for never."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
