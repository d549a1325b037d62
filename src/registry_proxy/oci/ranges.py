"""Byte ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """A well-formed range that selects no byte of the content: 416 (RFC 9110, section 14.4)."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes `start` (included) to `stop` (excluded) of a content."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def select_range(header: str | None, size: int) -> ByteRange | None:
    """The part of a content of `size` bytes that a `Range` header selects; None stands for all of it.

    A malformed header, another unit or several ranges count as no header (RFC 9110, section 14.2).
    Raises UnsatisfiableRangeError.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        suffix = int(last)
        if suffix == 0 or size == 0:
            raise UnsatisfiableRangeError
        return ByteRange(max(0, size - suffix), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableRangeError
    return ByteRange(start, min(size, int(last) + 1) if last else size)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A `Content-Range` of an answer: first byte, one past the last, and the whole size where it is told."""

    start: int
    stop: int
    size: int | None


def parse_content_range(header: str | None) -> ContentRange | None:
    """None when the header is missing or malformed (RFC 9110, section 14.4)."""
    match = _CONTENT_RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, size = match.groups()
    if int(last) < int(first) or (size != "*" and int(last) >= int(size)):
        return None
    return ContentRange(int(first), int(last) + 1, None if size == "*" else int(size))
