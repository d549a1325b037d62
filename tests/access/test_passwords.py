"""htpasswd files: what they must hold, what is a right login, what is remembered and what a change does."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.access.program import basic, htpasswd
from tests.kit.clock import ManualClock

from registry_proxy.server.passwords import PasswordFileError, Passwords, read_password_file

if TYPE_CHECKING:
    from pathlib import Path

HASH = bcrypt.hashpw(
    b"secret", b"$2b$04$abcdefghijklmnopqrstuu"
)  # always the same, as the names of tests must be
ANN = basic("ann", "secret")


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
    assert not await Passwords(path, ManualClock()).check(ANN)


# Logins


async def test_right_logins_are_right_and_others_are_not(passwords: Passwords) -> None:
    assert await passwords.check(ANN)
    assert await passwords.check(basic("ben", "hunter2"))
    for user, password in [("ann", "hunter2"), ("ann", ""), ("eve", "secret"), ("", ""), ("ann ", "secret")]:
        assert not await passwords.check(basic(user, password))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic YW5u",  # no colon
        "Basic YW5uOnNlY3JldA",  # no padding
        "Basic YW5uOnNlY3JldA==, Basic YW5uOnNlY3JldA==",
        "Basic \xe9\xe9\xe9\xe9",
        "Bearer YW5uOnNlY3JldA==",
        "YW5uOnNlY3JldA==",
        "Basic " + base64.b64encode(b"ann:" + b"x" * 100_000).decode(),
        "Basic " + base64.b64encode(b"ann:secret\0").decode(),
    ],
)
async def test_what_is_no_basic_login_is_wrong(passwords: Passwords, authorization: str) -> None:
    assert not await passwords.check(authorization)
    assert not passwords.is_cached(authorization)


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
async def test_the_scheme_is_written_in_any_way(passwords: Passwords, scheme: str) -> None:
    assert await passwords.check(f"{scheme} {ANN.partition(' ')[2]}")


async def test_passwords_are_utf8(tmp_path: Path) -> None:
    path = htpasswd(tmp_path / "users", jörg="grüße")
    assert await Passwords(path, ManualClock()).check(basic("jörg", "grüße"))


async def test_what_bcrypt_would_not_look_at_is_not_ignored(tmp_path: Path) -> None:
    path = htpasswd(tmp_path / "users", ann="x" * 72)
    passwords = Passwords(path, ManualClock())
    assert await passwords.check(basic("ann", "x" * 72))
    assert not await passwords.check(basic("ann", "x" * 73))


# Remembering


async def test_a_right_login_is_remembered_for_five_minutes(passwords: Passwords, clock: ManualClock) -> None:
    assert not passwords.is_cached(ANN)
    await passwords.check(ANN)
    clock.advance(299)
    assert passwords.is_cached(ANN)
    clock.advance(1)
    assert not passwords.is_cached(ANN)


async def test_a_wrong_login_is_not_remembered(passwords: Passwords) -> None:
    await passwords.check(basic("ann", "wrong"))
    assert not passwords.is_cached(basic("ann", "wrong"))
    assert not passwords.is_cached(None)


async def test_what_is_remembered_is_not_the_login(passwords: Passwords) -> None:
    await passwords.check(ANN)
    kept = repr(vars(passwords))
    for part in ("secret", ANN.partition(" ")[2]):
        assert part not in kept


async def test_only_so_many_logins_are_remembered(tmp_path: Path) -> None:
    """They are right ones, so it takes as many users; the scheme's letters make further ones of one."""
    passwords = Passwords(htpasswd(tmp_path / "users", ann="secret"), ManualClock())
    for number in range(1030):
        await passwords.check("Basic" + " " * (1 + number) + ANN.partition(" ")[2])
    assert len(passwords._accepted) <= 1024


# Changes


async def test_a_change_is_seen_within_seconds_and_nothing_old_is_cached(
    path: Path, passwords: Passwords, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await passwords.check(ANN)
    htpasswd(path, ann="changed")
    clock.advance(2)
    assert not passwords.is_cached(ANN)
    assert not await passwords.check(ANN)
    assert await passwords.check(basic("ann", "changed"))
    assert "was reloaded: 1 users" in caplog.text


async def test_a_change_is_seen_by_those_who_were_never_remembered(
    path: Path, passwords: Passwords, clock: ManualClock
) -> None:
    htpasswd(path, eve="new")
    clock.advance(2)
    assert await passwords.check(basic("eve", "new"))


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
        assert await passwords.check(ANN)
    assert caplog.text.count("htpasswd file not reloaded, the previous users stay valid") == 1
    htpasswd(path, ben="x")
    clock.advance(2)
    assert not await passwords.check(ANN)


async def test_a_user_who_is_deleted_during_the_check_is_not_let_in(path: Path, clock: ManualClock) -> None:
    path.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(10)) + b"\n")
    passwords = Passwords(path, clock)
    async with asyncio.TaskGroup() as tasks:
        check = tasks.create_task(passwords.check(ANN))
        await asyncio.sleep(0)  # it runs, in a thread
        htpasswd(path, ben="x")
        clock.advance(2)
        passwords.is_cached(ANN)
    assert not check.result()
    assert not passwords.is_cached(ANN)


# Time


async def test_an_unknown_user_takes_as_long_as_a_known_one(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(9)) + b"\n")
    passwords = Passwords(path, ManualClock())

    async def seconds(user: str) -> float:
        times = []
        for _ in range(5):
            begin = time.process_time()
            await passwords.check(basic(user, "wrong"))
            times.append(time.process_time() - begin)
        return min(times)

    known, unknown = await seconds("ann"), await seconds("eve")
    assert 0.5 < unknown / known < 2


async def test_a_remembered_login_takes_microseconds(passwords: Passwords) -> None:
    await passwords.check(ANN)
    begin = time.process_time()
    for _ in range(1000):
        passwords.is_cached(ANN)
    assert (time.process_time() - begin) / 1000 < 50e-6
