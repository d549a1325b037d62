"""Storage to which registries redirect for blobs: with their login, or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.kit.faults import Redirect
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import LATEST, REPOSITORY, content, stored

from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.base import UpstreamDeniedError

if TYPE_CHECKING:
    from tests.kit import images
    from tests.upstream.connecting import Connector

    from registry_proxy.upstream.upstream import RegistryUpstream

ME = Credentials("me", "secret")
every_scheme = pytest.mark.parametrize("auth", ["bearer", "basic"])
every_refusal = pytest.mark.parametrize("status", [401, 403])


def storing(auth: str, **changes: Any) -> SimulatedUpstream:
    """A registry that redirects for blobs before it looks at the login."""
    simulated = SimulatedUpstream("storing", auth=auth, **changes)
    simulated.add_user(ME.username, ME.password)
    return simulated


def logged_in(connect: Connector, simulated: SimulatedUpstream, *realms: str) -> RegistryUpstream:
    return connect(simulated.url, credentials=StaticCredentials(ME), realm_hosts=realms)


def sent_to_storage(simulated: SimulatedUpstream) -> list[bool]:
    """For each request for bytes, whether it had an `Authorization`."""
    return ["Authorization" in each.headers for each in simulated.requests if each.kind == "blob"]


@every_scheme
@every_refusal
async def test_the_registrys_own_storage_gets_its_login(
    connect: Connector, image: images.Image, auth: str, status: int
) -> None:
    async with storing(auth, storage_login=status) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        await upstream.repository(REPOSITORY).manifest(LATEST)
        assert await content(upstream, layer) == image.layers[0].raw
        assert sent_to_storage(simulated) == [True]
        # A new worker has seen no challenge: its first request is for the blob.
        restarted = logged_in(connect, simulated)
        assert await content(restarted, layer) == image.layers[0].raw
        assert await content(restarted, layer) == image.layers[0].raw
    assert sent_to_storage(simulated) == [True, False, True, True]


@every_refusal
async def test_a_dead_token_is_replaced_for_storage_too(
    connect: Connector, image: images.Image, status: int
) -> None:
    async with storing("bearer", storage_login=status) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        await content(upstream, layer)
        simulated.kill_tokens()
        assert await content(upstream, layer) == image.layers[0].raw


@every_scheme
async def test_storage_that_refuses_the_login_is_read_without(
    connect: Connector, image: images.Image, auth: str
) -> None:
    async with storing(auth, storage_login=0, storage_signed=True, storage_refuses_login=True) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        await upstream.repository(REPOSITORY).manifest(LATEST)
        tokens = simulated.count(kind="token")
        for _ in range(2):
            assert await content(upstream, layer) == image.layers[0].raw
        assert await content(logged_in(connect, simulated), layer) == image.layers[0].raw
    assert sent_to_storage(simulated) == [True, False, True, False, False]
    assert simulated.count(kind="token") == tokens  # the token was not at fault


@every_scheme
@every_refusal
async def test_storage_on_another_host_gets_the_login_where_it_is_named(
    connect: Connector, image: images.Image, auth: str, status: int
) -> None:
    changes: dict[str, Any] = {"storage_host": "storage.test", "storage_login": status}
    async with storing(auth, **changes) as simulated:
        layer = stored(simulated, image)
        for _ in range(2):  # two workers
            upstream = logged_in(connect, simulated, "127.0.0.1")
            assert await content(upstream, layer) == image.layers[0].raw


@every_scheme
async def test_storage_on_another_host_never_gets_the_login_unless_it_is_named(
    connect: Connector, image: images.Image, auth: str
) -> None:
    """CVE-2026-50151 oras-go. The error names the way out."""
    changes: dict[str, Any] = {"storage_host": "storage.test", "storage_login": 401}
    async with storing(auth, **changes) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        await upstream.repository(REPOSITORY).manifest(LATEST)
        with pytest.raises(UpstreamDeniedError, match=r'add "127\.0\.0\.1" to `realms`'):
            await content(upstream, layer)
    assert sent_to_storage(simulated) == [False]


async def test_a_refusal_of_an_open_registrys_storage_is_told(
    connect: Connector, image: images.Image
) -> None:
    async with storing("none", storage_login=0, storage_signed=True) as simulated:
        layer = stored(simulated, image)
        simulated.arm("redirect", Redirect("/blobs/unsigned"))
        with pytest.raises(UpstreamDeniedError, match="returned 403"):
            await content(connect(simulated.url), layer)
