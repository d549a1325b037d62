"""Every registry's ways, with the requests counted that they cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.profiles import ALL, Profile
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import LATEST, REPOSITORY, content, stored

from registry_proxy.oci.reference import Digest, Repository, Tag, referrers_tag
from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.base import (
    TagPage,
    TagQuery,
    Upstream,
    UpstreamDeniedError,
    UpstreamLimitedError,
    UpstreamNotFoundError,
)
from registry_proxy.upstream.ratelimit import RateLimit

if TYPE_CHECKING:
    from tests.kit.clock import ManualClock
    from tests.upstream.connecting import Connector

    from registry_proxy.upstream.upstream import RegistryUpstream

ME = Credentials("me", "secret")
BEARER = [each for each in ALL if each.auth == "bearer" and not each.other_scopes_status]


def by_name(profile: Profile) -> str:
    return profile.name


every = pytest.mark.parametrize("profile", ALL, ids=by_name)
every_bearer = pytest.mark.parametrize("profile", BEARER, ids=by_name)


def logged_in(
    connect: Connector, simulated: SimulatedUpstream, credentials: Credentials = ME
) -> RegistryUpstream:
    """A client with the credentials; lscr.io's may be used at ghcr.io too, as the preset says."""
    simulated.add_user(ME.username, ME.password)
    named = ("127.0.0.1",) if simulated.profile.backend_guarded else ()
    return connect(simulated.url, credentials=StaticCredentials(credentials), realm_hosts=named)


def steps(simulated: SimulatedUpstream, first: int = 0) -> list[tuple[str, int]]:
    """What was asked and answered, without the redirects."""
    asked = [(each.kind, each.status) for each in simulated.requests if each.status != 307]
    return [(str(kind), status) for kind, status in asked][first:]


async def test_the_client_keeps_the_contract(connect: Connector) -> None:
    upstream: Upstream = connect("https://registry.example.com")
    assert upstream.registry == "registry.test"
    assert str(upstream.repository(Repository("a")).source) == "registry.test/a"


@every
async def test_an_image_is_read_whole(connect: Connector, image: images.Image, profile: Profile) -> None:
    async with SimulatedUpstream(profile) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        digest = await upstream.repository(REPOSITORY).resolve(LATEST)
        assert digest == (None if profile.bare_manifest_head else Digest.parse(image.digest))
        fetched = await upstream.repository(REPOSITORY).manifest(Digest.parse(image.digest))
        assert (fetched.raw, fetched.content_type) == (image.raw, image.media_type)
        assert await content(upstream, layer) == image.layers[0].raw
    assert simulated.transfers(str(layer)) == 1


@every_bearer
async def test_the_first_request_costs_a_token_and_the_second_nothing(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        assert steps(simulated) == [("manifest", 401), ("token", 200), ("manifest", 200)]
        await upstream.repository(REPOSITORY).resolve(LATEST)
        await upstream.repository(REPOSITORY).manifest(LATEST)
    assert steps(simulated, 3) == [("manifest", 200)] * 2


@every_bearer
async def test_another_repository_costs_no_401(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        stored(simulated, image, "acme/tool")
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        await upstream.repository(Repository("acme/tool")).resolve(LATEST)
    assert simulated.count(kind="token") == 2
    assert [each.status for each in simulated.requests].count(401) == 1


async def test_an_open_registry_is_asked_once_a_request(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream("plain") as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        await content(upstream, layer)
    assert [each.kind for each in simulated.requests] == ["manifest", "blob"]


async def test_manifests_and_blobs_are_followed_to_other_hosts(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("k8s") as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url)
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw
        assert await content(upstream, layer) == image.layers[0].raw
    assert [each.role for each in simulated.requests] == ["registry", "backend", "registry", "storage"]


@pytest.mark.parametrize("profile", [each for each in ALL if not each.backend_guarded], ids=by_name)
async def test_no_authorization_goes_to_a_redirects_other_origin(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    """CVE-2026-50151 oras-go. The storage answers 400 to one, as S3 and Azure do."""
    async with SimulatedUpstream(profile) as simulated:
        layer = stored(simulated, image)
        upstream = logged_in(connect, simulated)
        await content(upstream, layer, 10)
        await upstream.repository(REPOSITORY).probe_blob(layer)
    elsewhere = [each for each in simulated.requests if each.role in ("storage", "backend")]
    assert all("Authorization" not in each.headers for each in elsewhere)
    assert bool(elsewhere) == bool(profile.storage_host or profile.backend_host)


@every
async def test_a_blob_is_probed_by_one_byte(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        layer = stored(simulated, image)
        assert (
            await logged_in(connect, simulated).repository(REPOSITORY).probe_blob(layer)
            == image.layers[0].size
        )
    assert simulated.count("HEAD") == 0
    assert sum(each.sent for each in simulated.requests if each.kind == "blob" and each.status < 300) == 1


async def test_a_probe_of_a_registry_without_ranges_reads_no_body(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("plain", ranges=False) as simulated:
        layer = stored(simulated, image)
        assert await connect(simulated.url).repository(REPOSITORY).probe_blob(layer) == image.layers[0].size


async def test_an_empty_blob_is_there(connect: Connector) -> None:
    empty = images.Content.of("application/octet-stream", b"")
    async with SimulatedUpstream("plain") as simulated:
        simulated.contents.repository(REPOSITORY.name).blobs[empty.digest] = empty
        upstream = connect(simulated.url)
        digest = Digest.parse(empty.digest)
        assert await upstream.repository(REPOSITORY).probe_blob(digest) == 0
        assert await content(upstream, digest) == b""


@every
async def test_what_is_not_there_is_not_found_or_not_for_us(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    """Amazon's storage answers 403 for what is missing, to those who may not list it."""
    missing = Digest.of(b"missing")
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = logged_in(connect, simulated)
        with pytest.raises(UpstreamNotFoundError, match="returned 404 Not Found: manifest unknown"):
            await upstream.repository(REPOSITORY).manifest(Tag("missing"))
        with pytest.raises(UpstreamNotFoundError):
            await upstream.repository(REPOSITORY).resolve(Tag("missing"))
        expected = UpstreamDeniedError if profile.missing_object_status == 403 else UpstreamNotFoundError
        with pytest.raises(expected):
            await upstream.repository(REPOSITORY).probe_blob(missing)
        with pytest.raises(expected):
            await content(upstream, missing)


async def test_docker_hub_gives_a_token_for_a_missing_repository_and_then_401(connect: Connector) -> None:
    async with SimulatedUpstream("dockerhub") as simulated:
        upstream = connect(simulated.url)
        for _ in range(2):
            with pytest.raises(UpstreamDeniedError, match="the repository is missing, or private") as caught:
                await upstream.repository(Repository("library/nothing")).manifest(LATEST)
            assert caught.value.login_required
    assert steps(simulated) == [
        ("manifest", 401),
        *[("token", 200), ("manifest", 401)] * 4,
    ]


async def test_a_token_service_that_refuses_is_quoted(connect: Connector) -> None:
    async with SimulatedUpstream("ghcr") as simulated:
        with pytest.raises(UpstreamDeniedError, match=r"no token for anonymous.*requested access") as caught:
            await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)
        assert caught.value.login_required


@pytest.mark.parametrize("profile", [each for each in ALL if each.auth != "none"], ids=by_name)
async def test_a_private_repository_needs_the_credentials(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        simulated.make_private(REPOSITORY.name, ME.username)
        with pytest.raises((UpstreamDeniedError, UpstreamNotFoundError)):
            await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)
        upstream = logged_in(connect, simulated)
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw


@pytest.mark.parametrize("profile", [each for each in ALL if each.auth != "none"], ids=by_name)
async def test_wrong_credentials_are_refused_without_telling_them(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = logged_in(connect, simulated, Credentials("me", "hush"))
        with pytest.raises(UpstreamDeniedError) as caught:
            await upstream.repository(REPOSITORY).manifest(LATEST)
    assert "hush" not in str(caught.value)
    assert ("'me'" in str(caught.value)) == (profile.auth == "bearer")


async def test_credentials_replaced_while_running_are_used(connect: Connector, image: images.Image) -> None:
    provider = StaticCredentials(Credentials("me", "old"))
    async with SimulatedUpstream("dockerhub") as simulated:
        stored(simulated, image)
        simulated.make_private(REPOSITORY.name, ME.username)
        simulated.add_user(ME.username, ME.password)
        upstream = connect(simulated.url, credentials=provider)
        with pytest.raises(UpstreamDeniedError):
            await upstream.repository(REPOSITORY).manifest(LATEST)
        provider.replace(ME)
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw


async def test_the_scopes_of_a_challenge_are_a_fallback_that_is_remembered(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("one-scope") as simulated:
        stored(simulated, image)
        stored(simulated, image, "acme/tool")
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        await upstream.repository(Repository("acme/tool")).resolve(LATEST)
    assert steps(simulated) == [
        ("manifest", 401),
        ("token", 400),
        ("token", 200),
        ("manifest", 200),
        ("manifest", 200),
    ]


async def test_lists_that_take_a_right_of_their_own_and_pulls_share_a_token(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("azure") as simulated:
        stored(simulated, image)
        upstream = connect(simulated.url)
        for _ in range(3):
            await upstream.repository(REPOSITORY).resolve(LATEST)
            assert (await upstream.repository(REPOSITORY).tags(TagQuery())).tags == (LATEST.name,)
    assert steps(simulated)[:3] == [("manifest", 401), ("token", 200), ("manifest", 200)]
    assert steps(simulated, 3) == [
        ("tags", 401),
        ("tags", 401),
        ("token", 200),
        ("tags", 200),
        *[("manifest", 200), ("tags", 200)] * 2,
    ]


@every_bearer
async def test_a_token_that_the_registry_does_not_know_yet_is_replaced_once(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = connect(simulated.url)
        simulated.gatekeeper.stillborn = 1
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw
        simulated.kill_tokens()
        simulated.gatekeeper.stillborn = 1
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw
        simulated.kill_tokens()
        simulated.gatekeeper.stillborn = 10
        with pytest.raises(UpstreamDeniedError):
            await upstream.repository(REPOSITORY).manifest(LATEST)


@every_bearer
async def test_an_expired_token_is_not_sent(
    connect: Connector, image: images.Image, clock: ManualClock, profile: Profile
) -> None:
    async with SimulatedUpstream(profile, clock=clock) as simulated:
        stored(simulated, image)
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        clock.advance(profile.token_seconds if profile.token_tells_expiry else 60)
        await upstream.repository(REPOSITORY).resolve(LATEST)
    assert steps(simulated, 3) == [("token", 200), ("manifest", 200)]


@every_bearer
@pytest.mark.parametrize(("status", "challenge"), [(401, True), (401, False), (400, False), (403, False)])
async def test_a_token_that_died_early_is_replaced(
    connect: Connector, image: images.Image, profile: Profile, status: int, challenge: bool
) -> None:
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).resolve(LATEST)
        simulated.kill_tokens(status=status, challenge=challenge)
        assert (await upstream.repository(REPOSITORY).manifest(LATEST)).raw == image.raw
    assert steps(simulated, 3) == [
        ("manifest", status),
        ("manifest", 401),
        ("token", 200),
        ("manifest", 200),
    ]


async def test_docker_hubs_rate_limit_is_remembered(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream("dockerhub") as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url)
        assert upstream.rate_limit is None
        await upstream.repository(REPOSITORY).manifest(LATEST)
        await content(upstream, layer)
        assert upstream.rate_limit == RateLimit(limit=100, remaining=99, window=21600)
        simulated.registry.pulls_left = 0
        with pytest.raises(UpstreamLimitedError, match="unauthenticated pull rate limit"):
            await upstream.repository(REPOSITORY).manifest(LATEST)
        assert upstream.rate_limit == RateLimit(limit=100, remaining=0, window=21600)


@every
async def test_tags_come_in_pages(connect: Connector, image: images.Image, profile: Profile) -> None:
    async with SimulatedUpstream(profile) as simulated:
        for tag in ("1", "2", "3"):
            simulated.push(REPOSITORY.name, image, tag)
        repository = logged_in(connect, simulated).repository(REPOSITORY)
        assert await repository.tags(TagQuery()) == TagPage(("1", "2", "3"))
        first = await repository.tags(TagQuery((("n", "2"),)))
        assert first.tags == ("1", "2")
        assert first.following is not None
        assert await repository.tags(first.following) == TagPage(("3",))


@every
async def test_referrers_come_from_the_api_or_from_the_tag(
    connect: Connector, image: images.Image, profile: Profile
) -> None:
    subject = Digest.parse(image.digest)
    signature = images.artifact("application/vnd.example.signature", b"signed", subject=image.manifest)
    async with SimulatedUpstream(profile) as simulated:
        stored(simulated, image)
        upstream = logged_in(connect, simulated)
        assert json.loads(await upstream.repository(REPOSITORY).referrers(subject))["manifests"] == []
        simulated.push(REPOSITORY.name, signature)
        if profile.referrers != "api":
            simulated.push(REPOSITORY.name, images.index(signature), referrers_tag(subject).name)
        listed = json.loads(await upstream.repository(REPOSITORY).referrers(subject))
    assert [each["digest"] for each in listed["manifests"]] == [signature.digest]
    assert listed["mediaType"] == images.OCI_INDEX
