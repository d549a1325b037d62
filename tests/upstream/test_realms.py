"""Which token services an upstream may name (CVE-2026-33540 distribution, CVE-2026-48978 oras-go)."""

from __future__ import annotations

import pytest
from yarl import URL

from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule

DOMAINS = PublicSuffixes()


def rule(home: str, *named: str) -> RealmRule:
    return RealmRule(URL(home), frozenset(named), DOMAINS)


@pytest.mark.parametrize(
    ("home", "realm"),
    [
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://ghcr.io", "https://ghcr.io:8443/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://registry.example.co.uk", "https://auth.example.co.uk/token"),
        ("https://10.0.0.5:5000", "https://10.0.0.5:5001/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://registry.example.com", "http://auth.example.com/token"),
        ("http://registry.example.com", "https://auth.example.com/token"),
    ],
)
def test_credentials_go_to_realms_of_the_upstreams_own_domain(home: str, realm: str) -> None:
    assert rule(home).allows_credentials(URL(realm))


@pytest.mark.parametrize(
    ("home", "realm"),
    [
        ("https://ghcr.io", "https://evil.example.com/token"),
        ("https://ghcr.io", "https://ghcr.io.evil.example.com/token"),
        ("https://ghcr.io", "https://evilghcr.io/token"),
        ("https://registry.example.co.uk", "https://other.co.uk/token"),  # a public suffix is nobody's domain
        ("https://alice.github.io", "https://mallory.github.io/token"),
        ("https://alice.azurecr.io", "https://169.254.169.254/token"),
        ("https://registry.example.com", "https://192.0.2.1/token"),
        ("https://registry.example.com", "https://[::1]/token"),
        ("https://registry.example.com", "https://localhost/token"),
        ("https://10.0.0.5", "https://10.0.0.6/token"),
        ("http://localhost:5000", "http://127.0.0.1:5000/token"),
    ],
)
def test_credentials_go_to_no_other_domain_literal_or_loopback(home: str, realm: str) -> None:
    assert not rule(home).allows_credentials(URL(realm))


@pytest.mark.parametrize(
    "realm", ["http://ghcr.io/token", "http://auth.named.example/token", "ftp://ghcr.io/token"]
)
def test_credentials_never_go_from_https_down_to_http(realm: str) -> None:
    assert not rule("https://ghcr.io", "auth.named.example").allows_credentials(URL(realm))


def test_credentials_go_to_a_realm_that_the_configuration_names() -> None:
    assert rule("https://lscr.io", "ghcr.io").allows_credentials(URL("https://ghcr.io/token"))
    assert rule("https://lscr.io", "ghcr.io").is_named(URL("https://ghcr.io/v2/"))
    assert not rule("https://lscr.io", "ghcr.io").is_named(URL("http://ghcr.io/v2/"))
    assert not rule("https://lscr.io", "ghcr.io").is_named(URL("https://lscr.io/v2/"))


@pytest.mark.parametrize(
    ("home", "realm", "expected"),
    [
        ("https://registry.example.com", "https://auth.example.org/token", True),
        ("https://registry.example.com", "http://auth.example.org/token", False),
        ("http://registry.example.com", "http://auth.example.org/token", False),
        ("http://registry.example.com", "http://registry.example.com/token", True),
    ],
)
def test_an_anonymous_token_is_asked_for_elsewhere_only_by_https(
    home: str, realm: str, expected: bool
) -> None:
    assert rule(home).allows_anonymous(URL(realm)) is expected


def test_the_suffix_list_knows_no_domain_of_addresses_and_single_names() -> None:
    assert DOMAINS.registrable_domain("Auth.Docker.IO.") == "docker.io"
    assert DOMAINS.registrable_domain("192.0.2.1") is None
    assert DOMAINS.registrable_domain("localhost") is None
