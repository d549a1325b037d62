"""The gate: who passes at once, who has to log in, who is refused, and how little a right login costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.access.program import basic, htpasswd
from tests.kit.clock import ManualClock

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.access import AddressRanges, NamePatterns
from registry_proxy.server.gate import AccessRule, Gate
from registry_proxy.server.logins import LoginRequiredError, Logins
from registry_proxy.server.passwords import Passwords
from registry_proxy.server.request import Client, Request

if TYPE_CHECKING:
    from pathlib import Path

INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"
ANN, WRONG = basic("ann", "secret"), basic("ann", "wrong")


def ranges(*networks: str) -> AddressRanges:
    return AddressRanges(tuple(ip_network(network) for network in networks))


def request(
    login: str | None = None, *, source: str = INSIDE, names: tuple[str, ...] = (), **headers: str
) -> Request:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if login is not None:
        sent["authorization"] = login
    return Request("GET", "/v2/", "registry.example.com", sent, True, Client(ip_address(source), names))


@dataclass
class Door:
    """A gate and its clock."""

    clock: ManualClock = field(default_factory=ManualClock)

    def gate(
        self,
        rule: AccessRule,
        rules: dict[str, AccessRule] | None = None,
        proxies: AddressRanges | None = None,
    ) -> Gate:
        return Gate(rule, rules or {}, proxies or AddressRanges())

    def rule(
        self, users: Path | None = None, *sources: str, names: tuple[str, ...] | None = None
    ) -> AccessRule:
        logins = Logins(Passwords(users, self.clock), self.clock) if users else None
        patterns = NamePatterns(names) if names else None
        return AccessRule(ranges(*sources) if sources else None, logins, patterns)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return htpasswd(tmp_path / "users", ann="secret", ben="hunter2")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often bcrypt was asked."""
    counted: Counter[str] = Counter()
    real = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        counted["checks"] += 1
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    return counted


async def outcome(gate: Gate, asked: Request, registry: str | None = None) -> str:
    """`admitted`, or the code of the refusal."""
    try:
        await gate.admit(asked, registry)
    except LoginRequiredError:
        return "log in"
    except RegistryError as error:
        return str(error.code)
    return "admitted"


async def test_without_rules_everybody_passes_at_once(door: Door) -> None:
    assert door.gate(AccessRule()).is_known_allowed(request(source=OUTSIDE), "docker.io")


async def test_addresses(door: Door) -> None:
    gate = door.gate(door.rule(None, "10.0.0.0/8"))
    assert await outcome(gate, request(source=INSIDE)) == "admitted"
    assert await outcome(gate, request(source=OUTSIDE)) == ErrorCode.DENIED
    assert await outcome(gate, request(source=OUTSIDE, x_forwarded_for=INSIDE)) == ErrorCode.DENIED


async def test_addresses_that_a_trusted_proxy_tells(door: Door) -> None:
    gate = door.gate(door.rule(None, "10.0.0.0/8"), proxies=ranges("10.0.0.1"))
    told = {"10.2.2.2": "admitted", OUTSIDE: ErrorCode.DENIED, "rubbish": ErrorCode.DENIED}
    for header, expected in told.items():
        assert await outcome(gate, request(source="10.0.0.1", x_forwarded_for=header)) == expected


async def test_logins(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users))
    assert await outcome(gate, request()) == "log in"
    assert await outcome(gate, request(WRONG)) == "log in"
    assert await outcome(gate, request("Bearer x")) == "log in"
    assert await outcome(gate, request(ANN)) == "admitted"


async def test_a_login_does_not_replace_the_address(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users, "10.0.0.0/8"))
    assert await outcome(gate, request(ANN, source=OUTSIDE)) == ErrorCode.DENIED
    assert await outcome(gate, request(ANN, source=INSIDE)) == "admitted"
    assert await outcome(gate, request(source=INSIDE)) == "log in"
    assert await outcome(gate, request(ANN, source=OUTSIDE)) == ErrorCode.DENIED


async def test_a_certificate_and_a_login_stand_for_each_other(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users, names=("*.nodes",)))
    assert await outcome(gate, request(names=("a.nodes",))) == "admitted"
    assert await outcome(gate, request(names=("a.other",))) == "log in"
    assert await outcome(gate, request(ANN, names=("a.other",))) == "admitted"
    assert await outcome(gate, request(ANN)) == "admitted"


async def test_without_an_allowed_certificate_where_there_are_no_logins(door: Door) -> None:
    gate = door.gate(door.rule(names=("*.nodes",)))
    for asked in (request(), request(ANN), request(names=("a.other",))):
        assert await outcome(gate, asked) == ErrorCode.DENIED


async def test_each_registry_has_its_rule(door: Door, users: Path) -> None:
    rules = {"ghcr.io": door.rule(users), "quay.io": door.rule(None, "192.0.2.0/24")}
    gate = door.gate(AccessRule(), rules)
    assert await outcome(gate, request(), "docker.io") == "admitted"
    assert await outcome(gate, request()) == "admitted"
    assert await outcome(gate, request(), "ghcr.io") == "log in"
    assert await outcome(gate, request(), "quay.io") == ErrorCode.DENIED


async def test_what_concerns_all_registries_takes_the_right_to_each(door: Door, users: Path) -> None:
    gate = door.gate(AccessRule(), {"ghcr.io": door.rule(users)})
    with pytest.raises(LoginRequiredError):
        await gate.admit_to_all(request())
    await gate.admit_to_all(request(ANN))


async def test_a_login_that_is_right_elsewhere_is_not_right_here(door: Door, tmp_path: Path) -> None:
    first, second = htpasswd(tmp_path / "1", ann="secret"), htpasswd(tmp_path / "2", ben="hunter2")
    gate = door.gate(door.rule(first), {"ghcr.io": door.rule(second)})
    assert await outcome(gate, request(ANN)) == "admitted"
    assert await outcome(gate, request(ANN), "ghcr.io") == "log in"
    assert not gate.is_known_allowed(request(ANN), "ghcr.io")


# Remembered and throttled


async def test_a_right_login_is_checked_once(door: Door, users: Path, checks: Counter[str]) -> None:
    gate = door.gate(door.rule(users))
    for _ in range(50):
        assert await outcome(gate, request(ANN)) == "admitted"
    assert gate.is_known_allowed(request(ANN), None)
    assert checks["checks"] == 1


async def test_many_who_come_at_once_with_one_login_are_checked_once(
    door: Door, users: Path, checks: Counter[str]
) -> None:
    gate = door.gate(door.rule(users))
    outcomes = await asyncio.gather(*(outcome(gate, request(ANN)) for _ in range(50)))
    assert set(outcomes) == {"admitted"}
    assert checks["checks"] == 1


async def test_ten_wrong_logins_and_the_user_waits_at_this_address(
    door: Door, users: Path, checks: Counter[str]
) -> None:
    gate = door.gate(door.rule(users))
    guesses = [request(basic("ann", f"guess{number}")) for number in range(10)]
    assert [await outcome(gate, guess) for guess in guesses] == ["log in"] * 10
    with pytest.raises(RegistryError, match="too many failed logins") as caught:
        await gate.admit(request(ANN), None)
    assert (caught.value.code, caught.value.retry_after) == (ErrorCode.TOOMANYREQUESTS, 60)
    assert checks["checks"] == 10
    assert await outcome(gate, request(ANN, source=OUTSIDE)) == "admitted"


async def test_the_wait_ends_after_a_minute(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users))
    for _ in range(10):
        await outcome(gate, request(WRONG))
    door.clock.advance(59)
    assert await outcome(gate, request(ANN)) == ErrorCode.TOOMANYREQUESTS
    door.clock.advance(1)
    assert await outcome(gate, request(ANN)) == "admitted"


async def test_wrong_logins_of_one_node_do_not_lock_out_others_of_the_same_address(
    door: Door, users: Path
) -> None:
    gate = door.gate(door.rule(users))
    for number in range(500):
        await outcome(gate, request(basic(f"user{number % 40}", "wrong")))
        await outcome(gate, request(WRONG))
    assert await outcome(gate, request(WRONG)) == ErrorCode.TOOMANYREQUESTS
    assert await outcome(gate, request(basic("ben", "hunter2"))) == "admitted"


async def test_nobody_guesses_faster_in_parallel(door: Door, users: Path, checks: Counter[str]) -> None:
    gate = door.gate(door.rule(users))
    guesses = (outcome(gate, request(basic("ann", f"guess{number}"))) for number in range(100))
    outcomes = Counter(await asyncio.gather(*guesses))
    assert outcomes == {"log in": 10, ErrorCode.TOOMANYREQUESTS: 90}
    assert checks["checks"] == 10


async def test_a_known_login_passes_while_its_user_waits(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users))
    await gate.admit(request(ANN), None)
    for _ in range(10):
        await outcome(gate, request(WRONG))
    assert await outcome(gate, request(WRONG)) == ErrorCode.TOOMANYREQUESTS
    assert await outcome(gate, request(ANN)) == "admitted"


@pytest.mark.parametrize("login", [None, basic("", ""), "basic  Og==", "Bearer x", "Basic !"])
async def test_who_sends_no_login_is_not_counted(
    door: Door, users: Path, checks: Counter[str], login: str | None
) -> None:
    """An empty one is what podman sends without one."""
    gate = door.gate(door.rule(users))
    assert {await outcome(gate, request(login)) for _ in range(50)} == {"log in"}
    assert checks["checks"] == 0
    assert await outcome(gate, request(ANN)) == "admitted"


async def test_a_proxys_clients_are_throttled_one_by_one(door: Door, users: Path) -> None:
    gate = door.gate(door.rule(users), proxies=ranges("10.0.0.1"))

    def by_proxy(login: str, client: str) -> Request:
        return request(login, source="10.0.0.1", x_forwarded_for=client)

    for _ in range(10):
        await outcome(gate, by_proxy(WRONG, "192.0.2.1"))
    assert await outcome(gate, by_proxy(ANN, "192.0.2.1")) == ErrorCode.TOOMANYREQUESTS
    assert await outcome(gate, by_proxy(ANN, "192.0.2.2")) == "admitted"


async def test_refusals_are_logged_without_what_was_sent(
    door: Door, users: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = door.gate(door.rule(users, "10.0.0.0/8"))
    await outcome(gate, request(WRONG))
    await outcome(gate, request(source=OUTSIDE))
    assert f"a login from {INSIDE} failed" in caplog.text
    assert f"{OUTSIDE} was refused" in caplog.text
    assert "wrong" not in caplog.text
    assert WRONG.partition(" ")[2] not in caplog.text
