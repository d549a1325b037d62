from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.challenge import Challenge, parse_challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            HUB,
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/alpine:pull",
                    },
                )
            ],
        ),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("basic REALM=x", [("basic", {"realm": "x"})]),
        ('Basic realm=""', [("basic", {"realm": ""})]),
        ('Bearer realm = "a" , service = b', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a",,service="b"', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a, b=c",x="d"', [("bearer", {"realm": "a, b=c", "x": "d"})]),
        (r'Bearer realm="a\"b\\c"', [("bearer", {"realm": r"a\"b\c".replace(r"\"", '"')})]),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ('Negotiate, Bearer realm="b"', [("negotiate", {}), ("bearer", {"realm": "b"})]),
        ("Negotiate, NTLM", [("negotiate", {}), ("ntlm", {})]),
        ('Negotiate YWJj==, Bearer realm="b"', [("negotiate", {}), ("bearer", {"realm": "b"})]),
        ("Negotiate YWJj", [("negotiate", {})]),
        (', ,Basic realm="a"', [("basic", {"realm": "a"})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "b"})]),
        ('Bearer scope="repository:a:pull,push"', [("bearer", {"scope": "repository:a:pull,push"})]),
        ("", []),
        ("   ", []),
        (",", []),
        ('"quoted"', []),
        ('Bearer realm="open', [("bearer", {})]),
        ('Bearer realm="a" é, Basic realm="b"', [("bearer", {"realm": "a"})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == tuple(Challenge(*challenge) for challenge in expected)


WORDS = st.text("abcXYZ09-._~!", min_size=1, max_size=8)
PARAMETERS = st.dictionaries(
    WORDS.map(str.lower), st.text(st.characters(exclude_characters="\n"), max_size=20)
)


def quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(st.lists(st.tuples(WORDS.map(str.lower), PARAMETERS), max_size=4))
def test_what_is_written_by_the_grammar_is_read_again(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        " ".join([scheme, ", ".join(f"{name}={quote(value)}" for name, value in parameters.items())]).strip()
        for scheme, parameters in challenges
    )
    assert parse_challenges(header) == tuple(Challenge(*challenge) for challenge in challenges)


@given(st.text('Bearer ="\\,a\t', max_size=40))
def test_any_header_is_survived(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize("piece", [" ", ",", " ,", "a", "a ", 'a="', "a=", '\\"', "a=b,"])
def test_no_header_takes_long(piece: str) -> None:
    """An upstream is not trusted with a regular expression's worst case."""
    header = f"Bearer {piece * 100_000}é"
    began = time.process_time()
    parse_challenges(header)
    assert time.process_time() - began < 1
