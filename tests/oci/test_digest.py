from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.reference import Digest, InvalidDigestError

SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SHA512 = hashlib.sha512(b"").hexdigest()


@pytest.mark.parametrize("text", [f"sha256:{SHA256}", f"sha512:{SHA512}"])
def test_registered_algorithms_are_parsed_and_printed_as_they_came(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        SHA256,
        f"sha256:{SHA256[:-1]}",
        f"sha256:{SHA256}0",
        f"sha256:{SHA256.upper()}",
        f"SHA256:{SHA256}",
        f"sha256:{SHA256}\n",
        f" sha256:{SHA256}",
        f"sha256:sha256:{SHA256[7:]}",
        f"sha256:{SHA256[:-1]}g",
        f"sha256:{SHA256[:-1]}٣",  # a digit, but none of ASCII
        f"sha256:../{SHA256[3:]}",
        f"sha512:{SHA256}",
        f"sha256:{SHA512}",
        f"sha384:{SHA256}",
        f"md5:{SHA256[:32]}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigestError, match="is not a sha256 or sha512 digest"):
        Digest.parse(text)


@given(st.text())
def test_no_text_is_taken_for_another_one_s_digest(text: str) -> None:
    with suppress(InvalidDigestError):
        assert str(Digest.parse(text)) == text


def test_an_error_shows_no_more_than_the_beginning_of_a_long_text() -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse("x" * 100_000)
    assert len(str(caught.value)) < 1000


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_matches_its_content_alone(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.matches(content)
    assert not digest.matches(content + b"\0")


def test_a_hasher_is_of_the_digest_s_algorithm_and_fresh() -> None:
    digest = Digest.of(b"content", "sha512")
    digest.hasher().update(b"other")
    hasher = digest.hasher()
    hasher.update(b"con")
    hasher.update(b"tent")
    assert hasher.hexdigest() == digest.hex
