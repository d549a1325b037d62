from __future__ import annotations

import io
import tomllib
from typing import Any

import pytest
from dotenv.parser import parse_stream
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.commands.config.documents import change_env, change_toml, masked_env, masked_toml

GHCR = ("upstreams", "ghcr", "username")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("", {("log", "level"): "debug"}, '[log]\nlevel = "debug"\n'),
        ("# a\n[log] # b\nlevel = 'info' # c\n", {("log", "level"): "debug"}, '# a\n[log] # b\nlevel = "debug" # c\n'),
        ("[log]\nlevel = 'info'\nformat = 'json'\n", {("log", "level"): None}, "[log]\nformat = 'json'\n"),
        ("", {("log", "level"): None, ("upstreams", "a", "url"): None}, ""),
        ("[upstreams.a]\nx = 1\n", {GHCR: "me"}, '[upstreams.a]\nx = 1\n\n[upstreams.ghcr]\nusername = "me"\n'),
        ("upstreams.ghcr.url = 'x'\n", {GHCR: "me"}, "upstreams.ghcr.url = 'x'\nupstreams.ghcr.username = \"me\"\n"),
        ("upstreams = {ghcr = {url = 'x'}}\n", {GHCR: "me"}, "upstreams = {ghcr = {url = 'x', username = \"me\"}}\n"),
    ],
)  # fmt: skip
def test_keys_are_changed_and_the_rest_stays(before: str, changes: dict[Any, Any], after: str) -> None:
    changed = change_toml(before, changes)
    assert tomllib.loads(changed) == tomllib.loads(after)
    assert all(comment in changed for comment in ("# a", "# b", "# c") if comment in before)


def test_a_new_file_says_where_it_comes_from() -> None:
    assert change_toml(None, {}).startswith("# Made by `registry-proxy config`")


def test_tables_are_made_and_unmade() -> None:
    text = change_toml("[tls]\nacme = 'x'\n", {}, tables=[("upstreams", "gitlab")], without=["tls"])
    assert tomllib.loads(text) == {"upstreams": {"gitlab": {}}}


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("", "p", "REGISTRY_PROXY_GHCR_USERNAME='p'\n"),
        ("A=1\n# b\n\nexport C='d'", "p", "A=1\n# b\n\nexport C='d'\nREGISTRY_PROXY_GHCR_USERNAME='p'\n"),
        ("A=1\nREGISTRY_PROXY_GHCR_USERNAME=old\nB=2\n", "p", "A=1\nREGISTRY_PROXY_GHCR_USERNAME='p'\nB=2\n"),
        ("A=1\nREGISTRY_PROXY_GHCR_USERNAME='o\nld'\nB=2\n", None, "A=1\nB=2\n"),
        ("A=1\n", None, "A=1\n"),
    ],
)
def test_variables_are_changed_and_other_lines_stay(before: str, value: str | None, after: str) -> None:
    assert change_env(before, {GHCR: value}) == after


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_variable_means_its_value_as_it_is(value: str) -> None:
    (binding,) = parse_stream(io.StringIO(change_env(None, {GHCR: value})))
    assert (binding.key, binding.value) == ("REGISTRY_PROXY_GHCR_USERNAME", value)


def test_secrets_are_masked() -> None:
    toml = "[upstreams]\nghcr = {password = 'hunter2'}\n[tls]\neab_hmac_key = 'hunter2'\neab_kid = 'kid'\n"
    assert "hunter2" not in masked_toml(toml)
    assert "kid = 'kid'" in masked_toml(toml)
    env = "REGISTRY_PROXY_A_PASSWORD=hunter2\nREGISTRY_PROXY_TLS_EAB_HMAC_KEY='hunter2'\n"
    env += "REGISTRY_PROXY_A_PASSWORD_FILE=f\n"
    assert "hunter2" not in masked_env(env)
    assert "REGISTRY_PROXY_A_PASSWORD_FILE=f\n" in masked_env(env)
