from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.config.units import (
    Address,
    InvalidValueError,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m", 60),
        ("168h", 604_800),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("0s", 0),
        ("90", 90),
        (90, 90),
        (0, 0),
        (" 5s ", 5),
    ],
)
def test_durations_are_read(text: str | int, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1 m", "1.5h", "-1s", -1, "1y", "1M", "30sec", "1h 30m", "٣s", "1e3"]
)
def test_what_is_not_a_duration_is_refused(text: str | int) -> None:
    with pytest.raises(InvalidValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_formatted_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (0, 0),
        ("1048576", 1_048_576),
        (1_048_576, 1_048_576),
        ("1B", 1),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("20MB", 20_000_000),
        ("20MiB", 20_971_520),
        ("100GB", 100_000_000_000),
        ("100GiB", 107_374_182_400),
        ("2TB", 2_000_000_000_000),
        ("2TiB", 2_199_023_255_552),
        ("1.5 GiB", 1_610_612_736),
        ("1gib", 1_073_741_824),
        ("100G", 100_000_000_000),
        ("100Gi", 107_374_182_400),
        ("1.5T", 1_500_000_000_000),
        ("64k", 64_000),
        ("500m", 500_000_000),
    ],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "1 G B", "-1", -1, "1I", "1bg", "1.5.5GB", "1XB", "1e9", "ten GB"]
)
def test_what_is_not_a_size_is_refused(text: str | int) -> None:
    with pytest.raises(InvalidValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**60))
def test_a_formatted_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5000", Address("127.0.0.1", 5000)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::]:5000", Address("::", 5000)),
        ("[::1]:65535", Address("::1", 65535)),
        ("localhost:80", Address("localhost", 80)),
        ("cache.example.com:443", Address("cache.example.com", 443)),
    ],
)
def test_addresses_are_read_and_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5000",
        ":5000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "::1:5000",
        "[127.0.0.1]:1",
        "[::g]:1",
        "256.0.0.1:1",
        "1.2.3:1",
        "a b:1",
        "http://a:1",
    ],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="is not an address"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("localhost:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "cache.example.com:80", True),
        ("0.0.0.0:80", "[::1]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("[::]:80", "0.0.0.0:80", True),
        ("[::1]:80", "[0:0::1]:80", True),
    ],
)
def test_an_address_overlaps_with_those_that_include_it(first: str, second: str, overlap: bool) -> None:
    one, other = Address.parse(first), Address.parse(second)
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap
