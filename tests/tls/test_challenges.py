"""Answers to challenges are files that every worker sees, and nothing else is read for them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from registry_proxy.tls.challenges import Challenges

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def challenges(tmp_path: Path) -> Challenges:
    return Challenges(tmp_path / "challenges")


def test_an_answer_is_there_until_its_file_is_removed(challenges: Challenges, tmp_path: Path) -> None:
    file = challenges.put_http("token-1", "token-1.thumbprint")
    assert Challenges(tmp_path / "challenges").key_authorization("token-1") == b"token-1.thumbprint"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    assert challenges.key_authorization("token-1") is None


@pytest.mark.parametrize("token", ["", ".", "..", "../secret", "a/b", "a\0", "%2e%2e", "x" * 256, ".a.1"])
def test_nothing_but_tokens_is_looked_for(token: str, challenges: Challenges, tmp_path: Path) -> None:
    challenges.put_http("token", "answer")
    (tmp_path / "secret").write_text("secret")
    assert challenges.key_authorization(token) is None
    with pytest.raises(ValueError, match="not base64url"):
        challenges.put_http(token, "answer")


@pytest.mark.parametrize("hostname", ["..", "../a", "a/b", "A.example.com", ""])
def test_nothing_but_host_names_is_looked_for(hostname: str, challenges: Challenges) -> None:
    challenges.put_tls("a.example.com", "answer")
    assert challenges.tls_context(hostname) is None


def test_tls_answers_are_told_of_while_they_are_there(challenges: Challenges) -> None:
    assert not challenges.has_tls()
    file = challenges.put_tls("a.example.com", "answer")
    assert challenges.has_tls()
    assert challenges.tls_context("a.example.com") is not None
    file.unlink()
    assert not challenges.has_tls()


def test_what_a_crash_has_left_is_cleared(challenges: Challenges) -> None:
    challenges.put_tls("a.example.com", "answer").with_name(".b.example.com.pem.4711").write_text("half")
    challenges.put_http("token", "answer")
    challenges.clear()
    assert challenges.key_authorization("token") is None
    assert not challenges.has_tls()
