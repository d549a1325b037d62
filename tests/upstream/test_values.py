"""Presets, credentials, rate limits and ranges."""

from __future__ import annotations

import base64

import pytest

from registry_proxy.oci.reference import Repository
from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.presets import PRESETS, Preset
from registry_proxy.upstream.ratelimit import RateLimit, is_account_limit


def test_the_five_caches_are_the_default() -> None:
    assert [preset.name for preset in PRESETS if preset.default] == [
        "dockerhub",
        "ghcr",
        "quay",
        "gcr",
        "k8s",
    ]


def test_every_name_means_one_registry() -> None:
    names = [name for preset in PRESETS for name in {preset.registry, *preset.aliases}]
    assert len(names) == len(set(names))
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)


def test_every_preset_is_reached_by_tls() -> None:
    assert all(preset.url.startswith("https://") for preset in PRESETS)


@pytest.mark.parametrize(
    ("preset", "asked", "expected"),
    [
        ("dockerhub", "alpine", "library/alpine"),
        ("dockerhub", "library/alpine", "library/alpine"),
        ("dockerhub", "acme/app/part", "acme/app/part"),
        ("quay", "alpine", "alpine"),
    ],
)
def test_one_part_names_are_docker_hubs_library(preset: str, asked: str, expected: str) -> None:
    found = next(each for each in PRESETS if each.name == preset)
    assert found.canonical(Repository(asked)) == Repository(expected)


@pytest.mark.parametrize(
    "url", ["https://r.example.com", "https://r.example.com/", "http://127.0.0.1:5000", "https://[::1]:5000"]
)
def test_a_preset_takes_the_address_of_a_host(url: str) -> None:
    assert Preset("x", "r.example.com", url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "r.example.com",
        "//r.example.com",
        "ftp://r.example.com",
        "https://",
        "https://r.example.com/prefix",
        "https://r.example.com/?a=b",
        "https://r.example.com/#a",
        "https://me:secret@r.example.com",
        "https://[::1",
    ],
)
def test_a_preset_refuses_any_other_address(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Preset("x", "r.example.com", url)


def test_basic_is_utf8_in_base64() -> None:
    sent = Credentials("_json_key", '{"k":"\u00e9:"}').basic()
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == '_json_key:{"k":"\u00e9:"}'


def test_a_user_name_with_a_colon_is_refused_without_showing_the_password() -> None:
    with pytest.raises(ValueError, match="colon") as caught:
        Credentials("a:b", "hush")
    assert "hush" not in str(caught.value)


async def test_static_credentials_can_be_replaced() -> None:
    provider, repository = StaticCredentials(), Repository("acme/app")
    assert await provider.get(repository) is None
    provider.replace(Credentials("a", "b"))
    assert await provider.get(repository) == Credentials("a", "b")


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("100;w=21600", "20;w=21600", RateLimit(100, 20, 21600)),
        ("200", "0", RateLimit(200, 0, None)),
        (" 100 ; w=60", "5", RateLimit(100, 5, 60)),
        ("", "20", None),
        ("100", "", None),
        ("many", "few", None),
        ("-1", "-1", None),
    ],
)
def test_rate_limits_are_read_from_headers(limit: str, remaining: str, expected: RateLimit | None) -> None:
    assert RateLimit.parse({"RateLimit-Limit": limit, "RateLimit-Remaining": remaining}) == expected


def test_no_headers_no_rate_limit() -> None:
    assert RateLimit.parse({}) is None


@pytest.mark.parametrize(
    ("code", "header", "expected"),
    [
        ("TOOMANYREQUESTS", "RateLimit-Limit", True),
        ("toomanyrequests", "RateLimit-Limit", True),
        ("", "RateLimit-Limit", True),  # a HEAD, whose response has no body
        ("DENIED", "RateLimit-Limit", False),
        ("TOOMANYREQUESTS", "Retry-After", False),
        ("", "Retry-After", False),
    ],
)
def test_the_limit_of_an_account_has_docker_hubs_headers(code: str, header: str, expected: bool) -> None:
    assert is_account_limit({header: "100;w=21600"}, code) is expected
