"""htpasswd files: what they must hold, what is a right login, what is remembered and what a change does."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.access.program import basic, htpasswd
from tests.kit.clock import ManualClock

from registry_proxy.server.logins import Login, Logins
from registry_proxy.server.passwords import PasswordFileError, Passwords, read_password_file

if TYPE_CHECKING:
    from pathlib import Path

HASH = bcrypt.hashpw(
    b"secret", b"$2b$04$abcdefghijklmnopqrstuu"
)  # always the same, as the names of tests must be


def login(user: str, password: str) -> Login:
    return Login(user.encode(), password.encode())


async def right(passwords: Passwords, asked: Login) -> bool:
    """What a client learns in the end."""
    known = passwords.known(asked)
    return await passwords.check(asked) if known is None else known


ANN, BEN = login("ann", "secret"), login("ben", "hunter2")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return htpasswd(tmp_path / "users", ann="secret", ben="hunter2")


@pytest.fixture
def passwords(path: Path, clock: ManualClock) -> Passwords:
    return Passwords(path, clock)


# The file


@pytest.mark.parametrize("prefix", [b"$2a$", b"$2b$", b"$2y$"])
async def test_hashes_of_every_kind_of_bcrypt_are_known(tmp_path: Path, prefix: bytes) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"# users\n\nann:" + prefix + HASH[4:] + b"\r\n")
    assert await Passwords(path, ManualClock()).check(ANN)


@pytest.mark.parametrize(
    "line",
    [
        b"ann",
        b"ann:",
        b"ann:secret",
        b"ann:$apr1$x$y",
        b"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        b"ann:" + HASH[:-1],
        b"ann:" + HASH + b"x",
        b"ann:" + HASH + b":x",
        b"ann:$2b$04$" + b"\xff" * 53,
        b"ann:" + HASH.replace(b"$04$", b"$99$"),
        b"ann:" + HASH.replace(b"$04$", b"$03$"),
        b":" + HASH,
        HASH,
    ],
)
def test_a_line_that_is_no_user_is_told_with_its_number_and_without_its_text(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"ben:" + HASH + b"\n" + line + b"\n")
    with pytest.raises(PasswordFileError, match=r"line 2 is not a user.*htpasswd -B") as caught:
        read_password_file(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert HASH.decode() not in str(caught.value)


def test_a_user_that_is_there_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"ann:" + HASH + b"\nann:" + HASH + b"\n")
    with pytest.raises(PasswordFileError, match="line 2 repeats a user"):
        read_password_file(path)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(PasswordFileError, match="can't be read: No such file"):
        Passwords(tmp_path / "nowhere", ManualClock())


async def test_a_file_without_users_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("")
    assert not await right(Passwords(path, ManualClock()), ANN)


# Passwords


async def test_right_logins_are_right_and_others_are_not(passwords: Passwords) -> None:
    assert await passwords.check(ANN)
    assert await passwords.check(BEN)
    for user, password in [("ann", "hunter2"), ("ann", ""), ("eve", "secret"), ("", ""), ("ann ", "secret")]:
        assert not await right(passwords, login(user, password))


@pytest.mark.parametrize("password", [b"x" * 100_000, b"secret\0", b"secret\0x"])
async def test_a_password_that_bcrypt_would_cut_is_wrong_without_it(
    passwords: Passwords, password: bytes
) -> None:
    assert passwords.known(Login(b"ann", password)) is False


async def test_passwords_are_utf8(tmp_path: Path) -> None:
    path = htpasswd(tmp_path / "users", jörg="grüße")
    assert await Passwords(path, ManualClock()).check(login("jörg", "grüße"))


async def test_what_bcrypt_would_not_look_at_is_not_ignored(tmp_path: Path) -> None:
    path = htpasswd(tmp_path / "users", ann="x" * 72)
    passwords = Passwords(path, ManualClock())
    assert await passwords.check(login("ann", "x" * 72))
    assert not await right(passwords, login("ann", "x" * 73))


# Known logins


async def test_a_right_login_decides_about_all_further_ones_of_its_user(
    passwords: Passwords, clock: ManualClock
) -> None:
    assert passwords.known(ANN) is None
    assert await passwords.check(ANN)
    clock.advance(400 * 86_400)
    assert passwords.known(ANN) is True
    assert passwords.known(login("ann", "wrong")) is False
    assert passwords.known(BEN) is None


async def test_a_wrong_login_is_known_for_a_minute(passwords: Passwords, clock: ManualClock) -> None:
    wrong = login("ann", "wrong")
    assert not await passwords.check(wrong)
    clock.advance(59)
    assert passwords.known(wrong) is False
    assert passwords.known(ANN) is None
    clock.advance(1)
    assert passwords.known(wrong) is None


async def test_only_so_many_wrong_logins_are_known(passwords: Passwords) -> None:
    for number in range(1030):
        await passwords.check(login("ann", f"guess{number}"))
    assert len(passwords._wrong) <= 1024


async def test_what_is_kept_is_not_the_login(passwords: Passwords) -> None:
    await passwords.check(ANN)
    await passwords.check(login("ben", "a guess"))
    kept = repr(vars(passwords))
    assert "secret" not in kept
    assert "a guess" not in kept
    assert "secret" not in repr(ANN)


# Changes


async def test_a_change_is_seen_within_seconds_and_nothing_old_is_cached(
    path: Path, passwords: Passwords, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await passwords.check(ANN)
    await passwords.check(login("ann", "changed"))
    htpasswd(path, ann="changed")
    clock.advance(2)
    assert not await right(passwords, ANN)
    assert await right(passwords, login("ann", "changed"))
    assert "was reloaded: 1 users" in caplog.text


async def test_a_change_is_seen_by_those_who_were_never_remembered(
    path: Path, passwords: Passwords, clock: ManualClock
) -> None:
    htpasswd(path, eve="new")
    clock.advance(2)
    assert await right(passwords, login("eve", "new"))


async def test_a_change_of_one_user_leaves_the_others_known(
    path: Path, passwords: Passwords, clock: ManualClock
) -> None:
    await passwords.check(ANN)
    with path.open("a") as file:
        file.write(f"eve:{HASH.decode()}\n")
    clock.advance(2)
    assert passwords.known(ANN) is True
    assert passwords.known(login("eve", "secret")) is None


@pytest.mark.parametrize("content", [b"broken", None])
async def test_a_useless_change_leaves_the_users_as_they_were(
    path: Path,
    passwords: Passwords,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for _ in range(5):
        clock.advance(2)
        assert await right(passwords, ANN)
    assert caplog.text.count("htpasswd file not reloaded, the previous users stay valid") == 1
    htpasswd(path, ben="x")
    clock.advance(2)
    assert not await right(passwords, ANN)


async def test_a_user_who_is_deleted_during_the_check_is_not_let_in(path: Path, clock: ManualClock) -> None:
    path.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(10)) + b"\n")
    passwords = Passwords(path, clock)
    async with asyncio.TaskGroup() as tasks:
        check = tasks.create_task(passwords.check(ANN))
        await asyncio.sleep(0)  # it runs, in a thread
        htpasswd(path, ben="x")
        clock.advance(2)
        passwords.known(ANN)
    assert not check.result()
    assert not passwords.known(ANN)


# Time


async def test_a_known_login_takes_microseconds(path: Path, clock: ManualClock) -> None:
    logins = Logins(Passwords(path, clock), clock)
    header = basic("ann", "secret")
    await logins.check(header, None)
    begin = time.process_time()
    for _ in range(1000):
        assert logins.is_known(header)
    assert (time.process_time() - begin) / 1000 < 50e-6
