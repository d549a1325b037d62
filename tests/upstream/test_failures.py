"""Failures are named honestly, and without secrets."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from yarl import URL

from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.failures import describe, excerpt, refusal, retry_after

NOW = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("99999999999999999999", 86400),
        ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
        ("Tue, 01 Jan 2030 00:02:00 -0000", 120),
        ("Mon, 31 Dec 2029 23:00:00 GMT", 0),
        ("Wed, 01 Jan 2031 00:00:00 GMT", 86400),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected: int | None) -> None:
    assert retry_after(header, NOW) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors":[{"code":"DENIED","message":"access denied"},{"message":"b"}]}', "access denied"),
        (b'{"errors":[{"code":"DENIED","message":"","detail":[1]}]}', "DENIED"),
        (b'{"errors":[]}', ""),
        (b'{"details":"incorrect username or password"}', "incorrect username or password"),
        (b'{"message":"no"}', "no"),
        (b"Too Many Requests (HAP429).\n", "Too Many Requests (HAP429)."),
        (b"<html><body>Bad gateway</body></html>", ""),
        (b" <?xml version='1.0'?><Error/>", ""),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\x1b[31mb\r\nInjected: header\x00\xc2\x85", "a [31mb Injected: header"),
        (json.dumps({"errors": [{"message": "a\u202e\u2028b\n\tc\x00"}]}).encode(), "a b c"),
        (json.dumps({"errors": [{"message": "x" * 1000}]}).encode(), "x" * 200),
        (b"y" * 1000, "y" * 200),
        (b'{"errors":"nonsense"}', '{"errors":"nonsense"}'),
    ],
)
def test_excerpt_is_the_first_message_short_and_printable(body: bytes, expected: str) -> None:
    assert excerpt(body) == expected


def test_a_description_never_holds_what_can_be_a_secret() -> None:
    url = URL("https://user:pass@cdn.example.com/blobs/x?signature=secret#part", encoded=True)
    assert describe("GET", url) == "GET https://cdn.example.com/blobs/x"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, UpstreamDeniedError),
        (401, UpstreamDeniedError),
        (403, UpstreamDeniedError),
        (404, UpstreamNotFoundError),
        (405, UpstreamDeniedError),
        (408, UpstreamTimeoutError),
        (410, UpstreamNotFoundError),
        (429, UpstreamLimitedError),
        (451, UpstreamDeniedError),
        (204, UpstreamBrokenError),
        (304, UpstreamBrokenError),
        (500, UpstreamBrokenError),
        (503, UpstreamBrokenError),
        (599, UpstreamBrokenError),
        (999, UpstreamBrokenError),
    ],
)
def test_a_status_means_one_kind_of_failure(status: int, expected: type[UpstreamError]) -> None:
    error = refusal("GET https://h/v2/a", status, "because", 5)
    assert type(error) is expected
    assert f"GET https://h/v2/a returned {status}" in str(error)
    assert ": because" in str(error)


def test_only_401_asks_for_a_login() -> None:
    required = {
        status: error.login_required
        for status in (400, 401, 403)
        if isinstance(error := refusal("GET x", status, "", None), UpstreamDeniedError)
    }
    assert required == {400: False, 401: True, 403: False}


def test_a_429_keeps_its_waiting_time() -> None:
    error = refusal("GET x", 429, "", 17)
    assert isinstance(error, UpstreamLimitedError)
    assert error.retry_after == 17
