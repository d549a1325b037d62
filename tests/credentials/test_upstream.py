"""What a registry that refuses credentials makes us do, and that each path's credentials stay with their path."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.faults import Answer
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import LATEST, Connector

from registry_proxy.oci.reference import Digest, Repository
from registry_proxy.upstream.auth.credentials import Credentials, CredentialsByPath, StaticCredentials
from registry_proxy.upstream.base import UpstreamDeniedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit.clock import ManualClock

    from registry_proxy.aio.tasks import BackgroundTasks

APP = Repository("acme/app")
OLD, NEW = Credentials("me", "old"), Credentials("me", "new")
# Two with tokens, of which one says 403 to a wrong login, and one that takes the credentials themselves.
every_registry = pytest.mark.parametrize("profile", ["dockerhub", "ghcr", "basic"])


class Rotating(StaticCredentials):
    """Has the new ones once the old ones were refused."""

    def __init__(self, after: Credentials) -> None:
        super().__init__(OLD)
        self.refusals = 0
        self._after = after

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:
        self.refusals += 1
        assert (repository, refused) == (APP, OLD)
        self.replace(self._after)
        return self._after


@pytest.fixture
async def connect(clock: ManualClock, background: BackgroundTasks) -> AsyncIterator[Connector]:
    connector = Connector(clock, background)
    async with connector.stack:
        yield connector


@pytest.fixture
def image() -> images.Image:
    return images.image(layer_size=1000)


def logins(simulated: SimulatedUpstream) -> list[str]:
    """The users and passwords that were sent, in order."""
    values = [each.headers.get("Authorization", "") for each in simulated.requests]
    return [base64.b64decode(value[6:]).decode() for value in values if value.startswith("Basic ")]


def guarded(simulated: SimulatedUpstream, image: images.Image, login: Credentials, *names: str) -> None:
    simulated.add_user(login.username, login.password)
    for name in names:
        simulated.push(name, image, LATEST.name)
        simulated.make_private(name, login.username)


@every_registry
async def test_refused_credentials_are_followed_by_newer_ones(
    connect: Connector, image: images.Image, profile: str
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        guarded(simulated, image, NEW, APP.name)
        provider = Rotating(NEW)
        upstream = connect(simulated.url, credentials=provider)
        assert (await upstream.repository(APP).manifest(LATEST)).raw == image.raw
        assert logins(simulated) == ["me:old", "me:new"]
        await upstream.repository(APP).manifest(LATEST)
        assert provider.refusals == 1


@every_registry
async def test_remembered_ways_lead_to_newer_credentials_too(
    connect: Connector, image: images.Image, clock: ManualClock, profile: str
) -> None:
    """The first login works, the password is changed at the registry, and the next one is refused."""
    async with SimulatedUpstream(profile, clock=clock) as simulated:
        guarded(simulated, image, OLD, APP.name)
        provider = Rotating(NEW)
        upstream = connect(simulated.url, credentials=provider)
        await upstream.repository(APP).manifest(LATEST)
        simulated.add_user(NEW.username, NEW.password)
        clock.advance(24 * 3600)  # no token lives so long
        assert (await upstream.repository(APP).manifest(LATEST)).raw == image.raw
        assert provider.refusals == 1


async def test_403_of_credentials_that_have_expired_counts_too(
    connect: Connector, image: images.Image
) -> None:
    """Amazon's private registries: `Your authorization token has expired`."""
    async with SimulatedUpstream("basic") as simulated:
        guarded(simulated, image, OLD, APP.name)
        provider = Rotating(NEW)
        upstream = connect(simulated.url, credentials=provider)
        await upstream.repository(APP).manifest(LATEST)
        simulated.add_user(NEW.username, NEW.password)
        simulated.arm("manifest", Answer(status=403))
        assert (await upstream.repository(APP).manifest(LATEST)).raw == image.raw
        assert logins(simulated)[-1] == "me:new"


@every_registry
async def test_the_same_credentials_are_not_sent_again(
    connect: Connector, image: images.Image, profile: str
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        guarded(simulated, image, NEW, APP.name)
        provider = Rotating(OLD)
        with pytest.raises(UpstreamDeniedError):
            await connect(simulated.url, credentials=provider).repository(APP).manifest(LATEST)
        assert logins(simulated) == ["me:old"]
        assert provider.refusals == 1


@every_registry
async def test_newer_credentials_that_are_refused_as_well_are_the_end_of_it(
    connect: Connector, image: images.Image, profile: str
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        guarded(simulated, image, NEW, APP.name)
        provider = Rotating(Credentials("me", "wrong"))
        with pytest.raises(UpstreamDeniedError) as caught:
            await connect(simulated.url, credentials=provider).repository(APP).manifest(LATEST)
        assert logins(simulated) == ["me:old", "me:wrong"]
    assert "wrong" not in str(caught.value)


async def test_a_repository_that_the_token_does_not_open_is_no_reason_for_new_credentials(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("dockerhub") as simulated:
        simulated.add_user(OLD.username, OLD.password)
        provider = Rotating(NEW)
        with pytest.raises(UpstreamDeniedError):
            await connect(simulated.url, credentials=provider).repository(APP).manifest(LATEST)
    assert provider.refusals == 0


# Paths


ANN, BEN = Credentials("ann", "a"), Credentials("ben", "b")
ANNS, BENS, PUBLIC = Repository("ann/app"), Repository("ben/app"), Repository("public/app")


@every_registry
async def test_each_path_has_its_own_credentials_and_tokens(
    connect: Connector, image: images.Image, profile: str
) -> None:
    provider = CredentialsByPath(
        StaticCredentials(ANN), {"ann": StaticCredentials(ANN), "ben": StaticCredentials(BEN)}
    )
    async with SimulatedUpstream(profile) as simulated:
        guarded(simulated, image, ANN, ANNS.name)
        guarded(simulated, image, BEN, BENS.name)
        simulated.push(PUBLIC.name, image, LATEST.name)
        upstream = connect(simulated.url, credentials=provider)
        digest = Digest.parse(image.layers[0].digest)
        for _ in range(2):
            for repository in (ANNS, BENS, PUBLIC):
                assert (await upstream.repository(repository).manifest(LATEST)).raw == image.raw
                async with upstream.repository(repository).blob(digest) as stream:
                    assert b"".join([chunk async for chunk in stream.chunks()]) == image.layers[0].raw
        for each in simulated.requests:
            login = each.headers.get("Authorization", "")
            if login.startswith("Basic "):
                name = each.repository or each.query["scope"].split(":")[1]
                user = base64.b64decode(login[6:]).decode().partition(":")[0]
                assert user == ("ben" if name == BENS.name else "ann")


@every_registry
async def test_what_one_path_may_read_another_may_not(
    connect: Connector, image: images.Image, profile: str
) -> None:
    """A token of one credential never serves another."""
    provider = CredentialsByPath(StaticCredentials(ANN), {"ben/other": StaticCredentials(BEN)})
    async with SimulatedUpstream(profile) as simulated:
        guarded(simulated, image, ANN, ANNS.name)
        guarded(simulated, image, BEN, BENS.name, "ben/other")
        upstream = connect(simulated.url, credentials=provider)
        await upstream.repository(Repository("ben/other")).manifest(LATEST)
        with pytest.raises(UpstreamDeniedError):
            await upstream.repository(BENS).manifest(LATEST)
