from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.reference import (
    Digest,
    InvalidDigestError,
    InvalidNameError,
    InvalidTagError,
    Repository,
    Source,
    Tag,
    parse_reference,
    referrers_tag,
)

DIGEST = Digest.of(b"")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0",
        "alpine",
        "library/alpine",
        "a/b/c/d/e",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "a.b_c__d-e/f.g",
        "x" * 255,
        "/".join(["a"] * 128),
    ],
)
def test_repository_names_of_the_grammar_are_taken(name: str) -> None:
    assert str(Repository(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "A",
        "a/B",
        ".a",
        "a.",
        "a..b",
        "a/../b",
        "..",
        ".",
        "-a",
        "a-",
        "_a",
        "a_",
        "a___b",
        "a._b",
        "a b",
        "a\n",
        "a\0",
        "a%2fb",
        "a:b",
        "a@b",
        "ä",
        "a٣",
        "a\\b",
        "x" * 256,
    ],
)
def test_other_repository_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="is not a repository name"):
        Repository(name)


# The grammar as distribution-spec prints it ("Pulling manifests").
SPECIFIED = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")


@given(st.text("aZ0._-/ %", max_size=12))
def test_repository_names_are_exactly_those_of_the_specification(name: str) -> None:
    try:
        Repository(name)
    except InvalidNameError:
        assert not SPECIFIED.fullmatch(name)
    else:
        assert SPECIFIED.fullmatch(name)


@pytest.mark.parametrize("name", ["a" * 254 + "!", "a-" * 127 + "!", "a/" * 127, "-" * 255])
def test_long_wrong_names_are_refused_in_no_time(name: str) -> None:
    with pytest.raises(InvalidNameError):
        Repository(name)


@pytest.mark.parametrize("name", ["latest", "_", "1.0", "A-b_c.d", "0", "x" * 128])
def test_tags_of_the_grammar_are_taken(name: str) -> None:
    assert str(Tag(name)) == name
    assert parse_reference(name) == Tag(name)


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "a\n", "ä", "a%20", "x" * 129, "..", "a@b"])
def test_other_tags_are_refused(name: str) -> None:
    with pytest.raises(InvalidTagError, match="is not a tag"):
        Tag(name)
    with pytest.raises(InvalidTagError):
        parse_reference(name)


def test_a_reference_with_a_colon_is_a_digest() -> None:
    assert parse_reference(str(DIGEST)) == DIGEST
    with pytest.raises(InvalidDigestError):
        parse_reference("latest:1")


@pytest.mark.parametrize("kind", [Repository, Tag])
def test_an_error_shows_no_more_than_the_beginning_of_a_long_text(kind: type[Repository | Tag]) -> None:
    with pytest.raises(ValueError, match=r"is not a (repository name|tag)$") as caught:
        kind("\0" * 100_000)
    assert len(str(caught.value)) < 1000


def test_a_source_is_printed_as_clients_name_it() -> None:
    assert str(Source("docker.io", Repository("library/alpine"))) == "docker.io/library/alpine"


@pytest.mark.parametrize(
    ("algorithm", "length"), [("sha256", len("sha256-") + 64), ("sha512", len("sha512-") + 64)]
)
def test_the_referrers_tag_has_at_most_64_characters_of_the_digest(algorithm: str, length: int) -> None:
    subject = Digest.of(b"image", algorithm)
    assert referrers_tag(subject) == Tag(f"{algorithm}-{subject.hex}"[:length])
