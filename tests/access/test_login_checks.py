"""Which login is checked next, what is one login, and what the time of a failure says."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.access.program import basic, htpasswd
from tests.kit.clock import ManualClock

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.logins import LoginRequiredError, Logins
from registry_proxy.server.passwords import Passwords

if TYPE_CHECKING:
    from pathlib import Path

ANN, BEN = basic("ann", "secret"), basic("ben", "hunter2")
ENCODED = ANN.partition(" ")[2]


@dataclass
class Bcrypt:
    """The real one. It notes what it checks, and waits while it is closed."""

    checked: list[bytes] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def hashing(monkeypatch: pytest.MonkeyPatch) -> Bcrypt:
    noted, real, loop = Bcrypt(), bcrypt.checkpw, asyncio.get_running_loop()
    noted.opened.set()

    def check(password: bytes, hashed: bytes) -> bool:
        noted.checked.append(password)
        loop.call_soon_threadsafe(noted.began.set)
        noted.opened.wait()
        loop.call_soon_threadsafe(noted.ended.set)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return noted


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return htpasswd(tmp_path / "users", ann="secret", ben="hunter2")


@pytest.fixture
def logins(users: Path) -> Logins:
    clock = ManualClock()
    return Logins(Passwords(users, clock), clock)


async def outcome(logins: Logins, header: str | None, address: str = "192.0.2.1") -> str:
    try:
        await logins.check(header, ip_address(address))
    except LoginRequiredError:
        return "log in"
    except RegistryError as error:
        return str(error.code)
    return "admitted"


@pytest.mark.parametrize("user", ["ann", "ben", "nobody"])
async def test_a_right_login_waits_for_one_guess_however_many_came_before(
    logins: Logins, hashing: Bcrypt, user: str
) -> None:
    """From as many addresses, for its own user, another one, and a user who does not exist."""
    hashing.opened.clear()
    async with asyncio.TaskGroup() as tasks:
        for number in range(1000):
            address = f"10.0.{number // 256}.{number % 256}"
            tasks.create_task(outcome(logins, basic(user, f"guess{number}"), address))
        await asyncio.sleep(0)  # every guess has come
        right = tasks.create_task(outcome(logins, ANN, "192.0.2.1"))
        await asyncio.sleep(0)
        hashing.opened.set()
        assert await right == "admitted"
        assert hashing.checked.index(b"secret") <= 1
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@pytest.mark.parametrize("user", ["ann", "ben"])
async def test_an_address_that_has_tried_waits_for_those_that_have_not(
    logins: Logins, hashing: Bcrypt, user: str
) -> None:
    """Whichever user it has tried, and even if what it has tried is not checked yet."""
    hashing.opened.clear()
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(outcome(logins, basic(user, f"old{number}"), f"10.0.0.{number}"))
        await asyncio.sleep(0)
        right = tasks.create_task(outcome(logins, ANN))
        await asyncio.sleep(0)
        for number in range(20):
            tasks.create_task(outcome(logins, basic("ann", f"new{number}"), f"10.0.0.{number}"))
        await asyncio.sleep(0)
        hashing.opened.set()
        assert await right == "admitted"
        assert hashing.checked.index(b"secret") <= 2


async def test_once_a_login_was_right_wrong_ones_of_its_user_take_no_bcrypt(
    logins: Logins, hashing: Bcrypt
) -> None:
    assert await outcome(logins, ANN) == "admitted"
    guesses = (outcome(logins, basic("ann", f"guess{n}"), f"10.0.0.{n}") for n in range(100))
    assert Counter(await asyncio.gather(*guesses)) == {"log in": 100}
    assert hashing.checked == [b"secret"]


async def test_one_old_password_on_many_machines_takes_one_check(logins: Logins, hashing: Bcrypt) -> None:
    asked = (outcome(logins, basic("ann", "old"), f"10.0.0.{number}") for number in range(100))
    assert Counter(await asyncio.gather(*asked)) == {"log in": 100}
    assert hashing.checked == [b"old"]


async def test_a_guess_counts_also_if_its_client_leaves(logins: Logins, hashing: Bcrypt) -> None:
    for number in range(10):
        hashing.opened.clear()
        hashing.began.clear()
        hashing.ended.clear()
        guess = asyncio.create_task(outcome(logins, basic("ann", f"guess{number}")))
        await hashing.began.wait()
        guess.cancel()
        await asyncio.wait([guess])
        hashing.opened.set()
        await hashing.ended.wait()
    assert await outcome(logins, ANN) == ErrorCode.TOOMANYREQUESTS


@pytest.mark.parametrize(
    "header",
    [
        f"basic {ENCODED}",
        f"BASIC {ENCODED}",
        f"Basic   {ENCODED}",
        f"Basic {ENCODED} ",
        "Basic YW5uOnNlY3JldB==",  # other unused bits (RFC 4648, section 3.5)
    ],
)
async def test_one_login_spelled_in_other_ways_is_the_same(
    logins: Logins, hashing: Bcrypt, header: str
) -> None:
    assert await outcome(logins, header) == "admitted"
    assert logins.is_known(ANN)
    assert logins.is_known(header)
    assert len(hashing.checked) == 1


async def test_failures_of_one_login_spelled_in_other_ways_count_together(
    logins: Logins, hashing: Bcrypt
) -> None:
    wrong = base64.b64encode(b"ann:wrong").decode()
    headers = ["Basic" + " " * (1 + number % 5) + wrong for number in range(5)]
    headers += ["".join(letters) + f" {wrong}" for letters in ("basic", "BASIC", "bAsic", "baSic", "basIc")]
    assert [await outcome(logins, header) for header in headers] == ["log in"] * 10
    assert await outcome(logins, ANN) == ErrorCode.TOOMANYREQUESTS
    assert len(hashing.checked) == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic YW5u",  # no colon
        "Basic YW5uOnNlY3JldA",  # no padding
        f"{ANN}, {ANN}",
        "Basic \xe9\xe9\xe9\xe9",
        f"Bearer {ENCODED}",
        ENCODED,
        basic("", ""),
        basic("", "secret"),
        basic("x" * 256, "secret"),
    ],
)
async def test_what_is_no_login_is_neither_checked_nor_counted(
    logins: Logins, hashing: Bcrypt, header: str | None
) -> None:
    assert {await outcome(logins, header) for _ in range(20)} == {"log in"}
    assert not logins.is_known(header)
    assert hashing.checked == []
    assert logins._throttle._failures == {}


async def test_users_who_exist_and_who_do_not_fail_in_the_same_time(users: Path) -> None:
    logins = Logins(Passwords(users, time.monotonic), time.monotonic)

    async def seconds(user: str) -> tuple[str, float]:
        begin = time.monotonic()
        return await outcome(logins, basic(user, "wrong")), time.monotonic() - begin

    assert await outcome(logins, BEN) == "admitted"
    results = await asyncio.gather(*map(seconds, ["ann", "ben", "eve", "x" * 255]))
    assert {said for said, _ in results} == {"log in"}
    assert all(took >= 0.999 for _, took in results)


async def test_a_user_who_does_not_exist_is_blocked_like_one_who_does(logins: Logins) -> None:
    for user in ("ann", "eve"):
        said = [await outcome(logins, basic(user, f"guess{number}")) for number in range(11)]
        assert said == ["log in"] * 10 + [ErrorCode.TOOMANYREQUESTS]


async def test_failures_are_logged_ten_times_a_minute_for_each_address(
    logins: Logins, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(50):
        await outcome(logins, basic(f"user{number}", "wrong"))
    assert caplog.text.count("a login from 192.0.2.1 failed") == 10
    assert caplog.text.count("further ones are not logged for a minute") == 1
    await outcome(logins, basic("eve", "wrong"), "192.0.2.2")
    assert "a login from 192.0.2.2 failed" in caplog.text
