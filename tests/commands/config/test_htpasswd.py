from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.config.htpasswd import check_password, check_user, users_of, with_users
from registry_proxy.server.logins import Login
from registry_proxy.server.passwords import Passwords

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_server_lets_them_in(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    text = with_users(with_users(None, {"old": "first", "me": "x" * 72}), {"old": "sec:ond", "new": "ü"})
    path.write_text(text)
    passwords = Passwords(path, time.monotonic)
    for user, password in (("old", "sec:ond"), ("me", "x" * 72), ("new", "ü")):
        assert await passwords.check(Login(user.encode(), password.encode()))
    assert passwords.known(Login(b"old", b"first")) is False


def test_other_lines_stay() -> None:
    text = with_users("# ours\n\nme:$2y$05$hash", {"you": "p"})
    assert text.startswith("# ours\n\nme:$2y$05$hash\nyou:$2b$10$")
    assert users_of(text) == ["me", "you"]


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a\tb"])
def test_what_is_no_user_is_refused(name: str) -> None:
    assert check_user(name) is not None


@pytest.mark.parametrize("password", ["", "a\nb", "ü" * 37])
def test_what_is_no_password_is_refused(password: str) -> None:
    assert check_password(password) is not None


def test_ordinary_names_and_passwords_pass() -> None:
    assert (check_user("node-1@example.com"), check_password("a b:c#")) == (None, None)
