from __future__ import annotations

import pytest

from registry_proxy.oci.image_name import ImageName, parse_image_name
from registry_proxy.oci.reference import (
    Digest,
    InvalidDigestError,
    InvalidNameError,
    InvalidTagError,
    Reference,
    Repository,
    Tag,
)

DIGEST = Digest.of(b"")


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("alpine", "docker.io", "alpine", None),
        ("alpine:3.20", "docker.io", "alpine", Tag("3.20")),
        ("acme/app", "docker.io", "acme/app", None),
        ("docker.io/library/alpine:3", "docker.io", "library/alpine", Tag("3")),
        ("GHCR.io/acme/app", "ghcr.io", "acme/app", None),
        ("localhost/app:1", "localhost", "app", Tag("1")),
        ("localhost:5000/app", "localhost:5000", "app", None),
        ("registry.example.com:5000/a/b:v1", "registry.example.com:5000", "a/b", Tag("v1")),
        (f"quay.io/a/b@{DIGEST}", "quay.io", "a/b", DIGEST),
        (f"quay.io/a/b:v1@{DIGEST}", "quay.io", "a/b", DIGEST),
        (f"alpine@{DIGEST}", "docker.io", "alpine", DIGEST),
    ],
)
def test_a_name_has_a_registry_a_repository_and_a_reference(
    text: str, registry: str, repository: str, reference: Reference | None
) -> None:
    assert parse_image_name(text) == ImageName(registry, Repository(repository), reference)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidNameError),
        ("Alpine", InvalidNameError),
        ("ghcr.io/", InvalidNameError),
        ("ghcr.io/../x", InvalidNameError),
        ("https://ghcr.io/a", InvalidNameError),
        ("alpine:-", InvalidTagError),
        ("alpine@sha256:12", InvalidDigestError),
        ("alpine@", InvalidDigestError),
    ],
)
def test_what_is_no_name_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_image_name(text)
