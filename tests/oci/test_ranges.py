from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.ranges import (
    ByteRange,
    ContentRange,
    UnsatisfiableRangeError,
    parse_content_range,
    select_range,
)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=9-9", 9, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=3-", 3, 10),
        ("bytes=0-", 0, 10),
        ("bytes=0-1000", 0, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-10", 0, 10),
        ("bytes=-1000", 0, 10),
        ("bytes=007-008", 7, 9),
        ("bytes= 3-5 ", 3, 6),
        ("BYTES=3-5", 3, 6),
        ("bytes=9-9999999999999999999", 9, 10),
    ],
)
def test_a_range_selects_bytes(header: str, start: int, stop: int) -> None:
    assert select_range(header, 10) == ByteRange(start, stop)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=5-4", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_range_without_a_byte_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        select_range(header, size)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=--1",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "bytes 0-1",
        "bytes:0-1",
        "bytes =0-1",
        "bytes=0 -1",
        "bytes=+1-2",
        "bytes=-+2",
        "bytes=1.0-2",
        "bytes=0x1-2",
        "bytes=٣-٤",
        "items=0-1",
        "bytes=0-99999999999999999999",  # longer than any size: not worth a special case
    ],
)
def test_a_malformed_header_another_unit_and_several_ranges_count_as_none(header: str | None) -> None:
    assert select_range(header, 10) is None


@given(st.integers(0, 50), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_selects_what_python_s_slices_do(size: int, first: int, last: int | None) -> None:
    content = bytes(range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    expected = content[first:] if last is None else content[first : last + 1]
    if not expected:
        with pytest.raises(UnsatisfiableRangeError):
            select_range(header, size)
    else:
        selected = select_range(header, size)
        assert selected is not None
        assert content[selected.start : selected.stop] == expected
        assert selected.length == len(expected)


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_suffix_selects_the_end(size: int, length: int) -> None:
    content = bytes(range(size))
    selected = select_range(f"bytes=-{length}", size)
    assert selected is not None
    assert content[selected.start : selected.stop] == content[-length:]


@given(st.text(), st.integers(0, 2**63))
def test_any_header_is_survived(header: str, size: int) -> None:
    try:
        selected = select_range(f"bytes={header}", size)
    except UnsatisfiableRangeError:
        return
    assert selected is None or 0 <= selected.start < selected.stop <= size


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-9/10", ContentRange(0, 10, 10)),
        ("bytes 5-5/6", ContentRange(5, 6, 6)),
        ("bytes 5-7/*", ContentRange(5, 8, None)),
        ("Bytes 5-7/8", ContentRange(5, 8, 8)),
        (" bytes 5-7/8 ", ContentRange(5, 8, 8)),
        (None, None),
        ("", None),
        ("bytes */10", None),
        ("bytes 0-9", None),
        ("bytes 0-9/", None),
        ("bytes 9-0/10", None),
        ("bytes 0-10/10", None),
        ("bytes=0-9/10", None),
        ("items 0-9/10", None),
        ("bytes 0-9/10, bytes 0-9/10", None),
        ("bytes -1-9/10", None),
    ],
)
def test_content_ranges(header: str | None, expected: ContentRange | None) -> None:
    assert parse_content_range(header) == expected
