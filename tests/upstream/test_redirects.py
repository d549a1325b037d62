"""Where redirects may lead (CVE-2026-50151 oras-go, CVE-2026-33540 distribution)."""

from __future__ import annotations

import pytest
from yarl import URL

from registry_proxy.upstream.failures import RedirectRefusedError
from registry_proxy.upstream.redirects import next_url

HERE = URL("https://registry.example.com/v2/a/blobs/x?signature=secret")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://cdn.example.org/x", "https://cdn.example.org/x"),
        ("/artifacts-downloads/x?a=b", "https://registry.example.com/artifacts-downloads/x?a=b"),
        ("y", "https://registry.example.com/v2/a/blobs/y"),
        ("?page=2", "https://registry.example.com/v2/a/blobs/x?page=2"),
        ("//cdn.example.org/x", "https://cdn.example.org/x"),
        ("https://cdn.example.org/x#part", "https://cdn.example.org/x"),
        ("https://CDN.example.org/x", "https://cdn.example.org/x"),
        ("https://b\u00fccher.example/x", "https://xn--bcher-kva.example/x"),
    ],
)
def test_a_location_can_be_absolute_or_relative(location: str, expected: str) -> None:
    assert next_url(HERE, location) == URL(expected)


@pytest.mark.parametrize(
    "location",
    [
        "https://cdn.example.org/a%2fb%7Ec?X-Signature=a%2Bb%3D+c~d&Empty=&e=%e4",
        "https://cdn.example.org/x?policy=eyJ9__&sig=a/b==",
    ],
)
def test_a_signed_location_keeps_its_spelling(location: str) -> None:
    assert str(next_url(HERE, location)) == location


def test_a_location_that_fits_no_request_line_is_encoded() -> None:
    assert str(next_url(HERE, "/a b\u00e9?c d")) == "https://registry.example.com/a%20b%C3%A9?c+d"


@pytest.mark.parametrize(
    "location",
    [
        "http://registry.example.com/v2/a/blobs/x",
        "http://cdn.example.org/x",
        "file:///etc/passwd",
        "gopher://cdn.example.org/x",
        "javascript:alert(1)",
        "https://[::1/x",
        "https://host:99999/x",
        "https://cdn.example.org\\@registry.example.com/x",
        "https://user:password@cdn.example.org/x",
        "https://user@cdn.example.org/x",
        "https://:password@cdn.example.org/x",
        "https://a b/x",
    ],
)
def test_no_downgrade_no_other_scheme_no_userinfo(location: str) -> None:
    with pytest.raises(RedirectRefusedError) as caught:
        next_url(HERE, location)
    assert "secret" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_plain_http_may_stay_or_rise() -> None:
    here = URL("http://registry.example.com/v2/")
    assert next_url(here, "http://cdn.example.com/x").scheme == "http"
    assert next_url(here, "https://cdn.example.com/x").scheme == "https"
