from __future__ import annotations

import io

import pytest
from dotenv.parser import parse_stream
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.commands.changes.dotenv import (
    assignment,
    edit,
    make_portable,
    masked,
    portable_assignment,
    variables,
)
from registry_proxy.commands.changes.plan import ChangeError

NAME = "REGISTRY_PROXY_GHCR_USERNAME"
PROFILES = "COMPOSE_PROFILES"

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
    assert make_portable(text) == text


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
    assert make_portable(text) == wanted


@pytest.mark.parametrize("value", ["it's", "back\\slash", "two\nlines"])
def test_a_value_without_a_portable_form_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ChangeError, match=r"^the value of NAME contains a quote") as caught:
        portable_assignment("NAME", value)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "COMPOSE_PROFILES=ghcr,quay\n"),
        ("A=x", "A=x\nCOMPOSE_PROFILES=ghcr,quay\n"),
        ("COMPOSE_PROFILES=old\nA=x\n", "COMPOSE_PROFILES=ghcr,quay\nA=x\n"),
        ("COMPOSE_PROFILES=old\nA=x\nCOMPOSE_PROFILES=older\n", "COMPOSE_PROFILES=ghcr,quay\nA=x\n"),
    ],
)
def test_the_profiles_are_set_once(text: str, wanted: str) -> None:
    assert edit(text, {PROFILES: "ghcr,quay"}) == wanted
    assert edit(wanted, {PROFILES: "ghcr,quay"}) == wanted


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("", "p", "REGISTRY_PROXY_GHCR_USERNAME=p\n"),
        ("A=1\n# b\n\nexport C='d'", "p", "A=1\n# b\n\nexport C='d'\nREGISTRY_PROXY_GHCR_USERNAME=p\n"),
        (
            "A=1\nREGISTRY_PROXY_GHCR_USERNAME=old\nB=2\n",
            "p q",
            "A=1\nREGISTRY_PROXY_GHCR_USERNAME='p q'\nB=2\n",
        ),
        ("A=1\n\nREGISTRY_PROXY_GHCR_USERNAME=old\n", "p", "A=1\n\nREGISTRY_PROXY_GHCR_USERNAME=p\n"),
        ("A=1\nREGISTRY_PROXY_GHCR_USERNAME='o\nld'\nB=2\n", None, "A=1\nB=2\n"),
        ("A=1\n", None, "A=1\n"),
    ],
)
def test_variables_are_changed_and_other_lines_stay(before: str, value: str | None, after: str) -> None:
    assert edit(before, {NAME: value}) == after


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "A="),
        ("plain-value_1.2:3/4@5", "A=plain-value_1.2:3/4@5"),
        ("a b", "A='a b'"),
        ("$x", "A='$x'"),
        ("a#b", "A='a#b'"),
        ("it's", "A='it\\'s'"),
        ("a\\b", "A='a\\\\b'"),
        ('say "x"', "A='say \"x\"'"),
    ],
)
def test_a_value_is_quoted_only_if_it_must_be(value: str, line: str) -> None:
    assert assignment("A", value) == f"{line}\n"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_variable_means_its_value_as_it_is(value: str) -> None:
    (binding,) = parse_stream(io.StringIO(edit(None, {NAME: value})))
    assert (binding.key, binding.value) == (NAME, value)


def test_secrets_are_masked_by_the_ends_of_their_names() -> None:
    text = "REGISTRY_PROXY_A_PASSWORD=hunter2\n# why\nB_KEY='hunter2'\nREGISTRY_PROXY_A_PASSWORD_FILE=f # hunter2\n"
    assert (
        masked(text, ["_PASSWORD", "_KEY"], "***")
        == "REGISTRY_PROXY_A_PASSWORD=***\n# why\nB_KEY=***\nREGISTRY_PROXY_A_PASSWORD_FILE=f\n"
    )
    assert variables(text) == {"REGISTRY_PROXY_A_PASSWORD", "B_KEY", "REGISTRY_PROXY_A_PASSWORD_FILE"}


def test_secrets_of_others_and_in_comments_are_masked() -> None:
    text = "# OLD_PASSWORD=hunter2\n\nAWS_SECRET_ACCESS_KEY=hunter2\nTOKEN='hunter2\nhunter2'\nCOMPOSE_PROFILES=a\n"
    shown = masked(text, ["_PASSWORD"], "***")
    assert "hunter2" not in shown
    assert "COMPOSE_PROFILES=a" in shown
