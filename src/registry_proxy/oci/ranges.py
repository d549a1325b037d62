"""Byte ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """A well-formed range without a byte of the content: 416 (RFC 9110, section 14.4)."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes of some content from `start` (included) to `stop` (excluded)."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def select_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range of `size` bytes that a `Range` header selects, or None for all of them.

    A malformed header, another unit and several ranges are ignored (RFC 9110, section 14.2). A range that ends before
    it begins may be ignored or rejected, and is rejected as by other registries.
    Raise UnsatisfiableRangeError.
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
    if start >= size or (last and int(last) < start):
        raise UnsatisfiableRangeError
    return ByteRange(start, min(size, int(last) + 1) if last else size)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A response's `Content-Range`: the first byte, the one after the last, and the whole size if it is known."""

    start: int
    stop: int
    size: int | None


def parse_content_range(header: str | None) -> ContentRange | None:
    """Parse a `Content-Range`. Return None if it is missing or malformed (RFC 9110, section 14.4)."""
    match = _CONTENT_RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, size = match.groups()
    if int(last) < int(first) or (size != "*" and int(last) >= int(size)):
        return None
    return ContentRange(int(first), int(last) + 1, None if size == "*" else int(size))
