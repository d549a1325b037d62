from __future__ import annotations

import pytest

from registry_proxy.commands.install.dotenv import for_compose, quoted
from registry_proxy.commands.install.plan import InstallError

SAME = [
    "",
    "# a comment\n\n",
    "A=plain-value_1.2:3/4@5\n",
    "export A=x  # why\n",
    'A="quoted"\n',
    "A='a $b c'\n",
    "A=\n",
    "not a variable\n",
]


@pytest.mark.parametrize("text", SAME)
def test_what_all_read_the_same_stays(text: str) -> None:
    assert for_compose(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A=a$b\n", "A='a$b'\n"),
        ('A="a$b"\nB=c\n', "A='a$b'\nB=c\n"),
        ("B=c\n\nA=a b\n", "B=c\n\nA='a b'\n"),
        ("A=x y", "A='x y'\n"),
    ],
)
def test_what_compose_would_read_otherwise_is_quoted(text: str, wanted: str) -> None:
    assert for_compose(text) == wanted


@pytest.mark.parametrize("value", ["it's", "back\\slash", "two\nlines"])
def test_what_cannot_be_written_for_all_is_told_without_the_value(value: str) -> None:
    with pytest.raises(InstallError, match=r"^NAME has a quote") as told:
        quoted("NAME", value)
    assert value not in str(told.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "COMPOSE_PROFILES=ghcr,quay\n"),
        ("A=x", "A=x\nCOMPOSE_PROFILES=ghcr,quay\n"),
        ("COMPOSE_PROFILES=old\nA=x\n", "A=x\nCOMPOSE_PROFILES=ghcr,quay\n"),
    ],
)
def test_the_profiles_are_set_once(text: str, wanted: str) -> None:
    assert for_compose(text, ("ghcr", "quay")) == wanted
    assert for_compose(wanted, ("ghcr", "quay")) == wanted
