"""When a password is got anew, who waits for it, and what is used meanwhile."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.credentials.conftest import APP

from registry_proxy.upstream.auth.commands import CommandError
from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.auth.expiring import ExpiringCredentials
from registry_proxy.upstream.base import UpstreamDeniedError

if TYPE_CHECKING:
    from tests.kit.clock import ManualClock

    from registry_proxy.aio.tasks import BackgroundTasks

HOUR = 3600.0
FAILS = CommandError("the vault is sealed")


@dataclass
class Source:
    """Hands out p1, p2, …; waits while it is shut, and fails while it is broken."""

    runs: int = 0
    broken: bool = False
    same: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def __call__(self) -> Credentials:
        self.runs += 1
        self.started.set()
        await self.open.wait()
        if self.broken:
            raise FAILS
        return Credentials("me", "p1" if self.same else f"p{self.runs}")

    def shut(self) -> None:
        self.open.clear()
        self.started.clear()


@dataclass
class Provider:
    """The provider under test, asked for passwords."""

    refreshed: ExpiringCredentials
    source: Source
    clock: ManualClock

    async def password(self) -> str:
        credentials = await self.refreshed.get(APP)
        assert credentials is not None
        return credentials.password

    async def refused(self, password: str) -> str:
        credentials = await self.refreshed.refresh(APP, Credentials("me", password))
        assert credentials is not None
        return credentials.password

    async def settle(self) -> None:
        """Let what runs in the background end."""
        attempt = self.refreshed._single_flight.running("upstreams.corp")
        if attempt is not None:
            await asyncio.wait([attempt])


@pytest.fixture
def provider(background: BackgroundTasks, clock: ManualClock) -> Provider:
    source = Source()
    refreshed = ExpiringCredentials(source, HOUR, what="upstreams.corp", background=background, clock=clock)
    return Provider(refreshed, source, clock)


async def test_nothing_is_run_before_it_is_needed(provider: Provider) -> None:
    assert provider.source.runs == 0


async def test_what_there_is_is_used_for_four_fifths_of_its_lifetime(provider: Provider) -> None:
    assert await provider.password() == "p1"
    provider.clock.advance(0.79 * HOUR)
    assert await provider.password() == "p1"
    await provider.settle()
    assert provider.source.runs == 1


async def test_all_who_wait_share_one_run(provider: Provider) -> None:
    assert set(await asyncio.gather(*(provider.password() for _ in range(20)))) == {"p1"}
    assert provider.source.runs == 1


async def test_after_four_fifths_nobody_waits_for_the_next(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(0.8 * HOUR)
    provider.source.shut()
    assert [await provider.password() for _ in range(3)] == ["p1"] * 3
    await provider.source.started.wait()
    assert await provider.password() == "p1"
    provider.source.open.set()
    await provider.settle()
    assert await provider.password() == "p2"
    assert provider.source.runs == 2


async def test_past_the_lifetime_it_is_waited_for(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(HOUR)
    assert await provider.password() == "p2"


async def test_one_who_leaves_takes_nothing_from_those_who_wait(provider: Provider) -> None:
    provider.source.shut()
    async with asyncio.TaskGroup() as tasks:
        first, second = tasks.create_task(provider.password()), tasks.create_task(provider.password())
        await provider.source.started.wait()
        first.cancel()
        provider.source.open.set()
        assert await second == "p1"
    assert provider.source.runs == 1


async def test_without_any_the_request_fails_and_tells_why(provider: Provider) -> None:
    provider.source.broken = True
    with pytest.raises(UpstreamDeniedError, match="the vault is sealed"):
        await provider.password()


async def test_a_failure_is_not_repeated_at_once(provider: Provider) -> None:
    provider.source.broken = True
    for _ in range(3):
        with pytest.raises(UpstreamDeniedError, match="the vault is sealed"):
            await provider.password()
    assert provider.source.runs == 1
    provider.source.broken = False
    provider.clock.advance(5)
    assert await provider.password() == "p2"


@pytest.mark.parametrize("age", [0.9 * HOUR, 2 * HOUR])
async def test_after_a_failure_the_old_one_stays_in_use(provider: Provider, age: float) -> None:
    await provider.password()
    provider.clock.advance(age)
    provider.source.broken = True
    assert await provider.password() == "p1"
    await provider.settle()
    assert [await provider.password() for _ in range(3)] == ["p1"] * 3
    assert provider.source.runs == 2
    provider.source.broken = False
    provider.clock.advance(5)
    await provider.password()
    await provider.settle()
    assert await provider.password() == "p3"


async def test_a_program_that_fails_and_hangs_is_waited_for_once(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(HOUR)
    provider.source.broken = True
    await provider.password()
    provider.clock.advance(5)
    provider.source.shut()
    assert [await provider.password() for _ in range(3)] == ["p1"] * 3
    await provider.source.started.wait()
    assert await provider.password() == "p1"


async def test_a_refused_one_is_got_anew(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(60)
    assert await provider.refused("p1") == "p2"


async def test_refusals_of_an_old_one_get_the_new_one_without_a_run(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(60)
    assert set(await asyncio.gather(*(provider.refused("p1") for _ in range(10)))) == {"p2"}
    provider.clock.advance(60)
    assert await provider.refused("p1") == "p2"
    assert provider.source.runs == 2


async def test_refusals_run_the_program_once_a_minute_at_most(provider: Provider) -> None:
    """Clients can ask for any name, and some registries refuse those that don't exist."""
    provider.source.same = True
    await provider.password()
    for _ in range(120):
        assert await provider.refused("p1") == "p1"
        provider.clock.advance(1)
    assert provider.source.runs == 2


async def test_a_failure_after_a_refusal_leaves_the_old_one(provider: Provider) -> None:
    await provider.password()
    provider.clock.advance(60)
    provider.source.broken = True
    assert await provider.refused("p1") == "p1"


async def test_the_log_tells_of_failures_and_of_no_password(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await provider.password()
    provider.clock.advance(HOUR)
    provider.source.broken = True
    await provider.password()
    told = caplog.text
    assert "upstreams.corp" in told
    assert "the vault is sealed. Next attempt in 5 s" in told
    assert "the previous ones stay in use" in told
    assert "p1" not in told
