"""Each profile has the ways that the real registry has."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict
from tests.kit import images
from tests.kit.clock import ManualClock
from tests.kit.profiles import ALL
from tests.kit.upstream import SimulatedUpstream

if TYPE_CHECKING:
    import aiohttp

IMAGE = images.image(layers=1)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/acme/app/manifests/latest"
BLOB = f"/v2/acme/app/blobs/{LAYER.digest}"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _upstream(kind: str, **changes: Any) -> SimulatedUpstream:
    upstream = SimulatedUpstream(kind, **changes)
    upstream.push("acme/app", IMAGE, "latest")
    upstream.add_user("ann", "secret")
    return upstream


async def _token(http: aiohttp.ClientSession, upstream: SimulatedUpstream, **headers: str) -> dict[str, str]:
    query = {
        "scope": upstream.profile.scope or f"repository:{upstream.profile.alias}acme/app:pull",
        "service": "x",
    }
    async with http.get(upstream.gatekeeper.realm, params=query, headers=headers) as answer:
        document = await answer.json()
        return {"Authorization": f"Bearer {document[upstream.profile.token_names[-1]]}"}


async def _login(http: aiohttp.ClientSession, upstream: SimulatedUpstream) -> dict[str, str]:
    match upstream.profile.auth:
        case "bearer":
            return await _token(http, upstream)
        case "basic":
            return {"Authorization": _basic("ann", "secret")}
        case "none":
            return {}


async def _status(http: aiohttp.ClientSession, url: str, method: str = "GET", **headers: str) -> int:
    async with http.request(method, url, headers=headers, allow_redirects=False) as answer:
        return answer.status


@pytest.mark.parametrize("kind", [each.name for each in ALL])
async def test_every_profile_gives_manifest_and_blob_to_a_client_that_follows_its_ways(
    kind: str, http: aiohttp.ClientSession
) -> None:
    async with _upstream(kind) as upstream:
        login = await _login(http, upstream)
        base = upstream.base("backend" if upstream.profile.backend_guarded else "registry")
        async with http.get(base + MANIFEST, headers=login) as answer:
            assert await answer.read() == IMAGE.raw
            assert answer.content_type == IMAGE.media_type
        async with http.get(base + BLOB, headers=login) as answer:
            assert await answer.read() == LAYER.raw
        assert upstream.transfers(LAYER.digest) == 1


@pytest.mark.parametrize(
    "kind", [each.name for each in ALL if each.auth != "none" and not each.backend_guarded]
)
async def test_request_without_login_is_challenged(kind: str, http: aiohttp.ClientSession) -> None:
    async with _upstream(kind) as upstream, http.get(upstream.url + MANIFEST) as answer:
        assert answer.status == 401
        assert (await answer.json())["errors"][0]["code"] == "UNAUTHORIZED"
        challenge = answer.headers["WWW-Authenticate"]
        assert ("service=" in challenge) == (kind not in ("nvcr", "basic"))


async def test_dockerhub_counts_a_get_and_not_a_head(http: aiohttp.ClientSession) -> None:
    async with _upstream("dockerhub") as upstream:
        login = await _login(http, upstream)
        left = []
        for method in ("HEAD", "GET", "HEAD"):
            async with http.request(method, upstream.url + MANIFEST, headers=login) as answer:
                left.append(answer.headers["ratelimit-remaining"])
        assert left == ["100;w=21600", "99;w=21600", "99;w=21600"]


async def test_dockerhub_limits_when_no_pull_is_left(http: aiohttp.ClientSession) -> None:
    async with _upstream("dockerhub") as upstream:
        login = await _login(http, upstream)
        upstream.registry.pulls_left = 0
        assert await _status(http, upstream.url + MANIFEST, **login) == 429
        assert await _status(http, upstream.url + MANIFEST, "HEAD", **login) == 200


async def test_dockerhub_gives_a_useless_token_for_a_repository_that_is_not_there(
    http: aiohttp.ClientSession,
) -> None:
    async with SimulatedUpstream("dockerhub") as upstream:
        login = await _token(http, upstream)
        assert await _status(http, upstream.url + MANIFEST, **login) == 401


async def test_storage_refuses_an_authorization_header(http: aiohttp.ClientSession) -> None:
    async with _upstream("dockerhub") as upstream:
        login = await _login(http, upstream)
        async with http.get(upstream.url + BLOB, headers=login, allow_redirects=False) as answer:
            assert answer.status == 307
            location = answer.headers["Location"]
        assert location.startswith(upstream.base("storage"))
        assert await _status(http, location, **login) == 400
        assert await _status(http, location) == 200


async def test_storage_refuses_a_missing_or_expired_signature(http: aiohttp.ClientSession) -> None:
    clock = ManualClock()
    upstream = SimulatedUpstream("gitlab", clock=clock)
    upstream.push("acme/app", IMAGE, "latest")
    async with upstream:
        login = await _login(http, upstream)
        async with http.get(upstream.url + BLOB, headers=login, allow_redirects=False) as answer:
            location = answer.headers["Location"]
        assert await _status(http, location.partition("?")[0]) == 403
        clock.advance(301)
        assert await _status(http, location) == 403


async def test_ghcr_denies_bad_credentials_without_a_challenge(http: aiohttp.ClientSession) -> None:
    async with _upstream("ghcr") as upstream:
        bad = {"Authorization": _basic("ann", "wrong")}
        async with http.get(upstream.gatekeeper.realm, headers=bad) as answer:
            assert answer.status == 403
            assert (await answer.json())["errors"][0]["code"] == "DENIED"
            assert "WWW-Authenticate" not in answer.headers


async def test_ghcr_storage_refuses_head(http: aiohttp.ClientSession) -> None:
    async with _upstream("ghcr") as upstream:
        login = await _login(http, upstream)
        async with http.get(upstream.url + BLOB, headers=login, allow_redirects=False) as answer:
            location = answer.headers["Location"]
        assert await _status(http, location, "HEAD") == 403


@pytest.mark.parametrize(("way", "status"), [("not-found", 404), ("astray", 303), ("api", 200)])
async def test_referrers_api_can_be_missing_or_astray(
    way: str, status: int, http: aiohttp.ClientSession
) -> None:
    async with _upstream("ghcr", referrers=way) as upstream:
        login = await _login(http, upstream)
        url = f"{upstream.url}/v2/acme/app/referrers/{IMAGE.digest}"
        assert await _status(http, url, **login) == status


async def test_referrers_are_listed_and_filtered(http: aiohttp.ClientSession) -> None:
    async with _upstream("plain") as upstream:
        attestation = images.attestation(IMAGE.manifest)
        upstream.push("acme/app", attestation)
        upstream.push("acme/app", images.artifact("application/x.sbom", b"{}", subject=IMAGE.manifest))
        url = f"{upstream.url}/v2/acme/app/referrers/{IMAGE.digest}"
        async with http.get(url, params={"artifactType": images.IN_TOTO}) as answer:
            listed = (await answer.json(content_type=None))["manifests"]
            assert [each["digest"] for each in listed] == [attestation.digest]
            assert answer.headers["OCI-Filters-Applied"] == "artifactType"


async def test_quay_redirect_is_a_trap_for_caches(http: aiohttp.ClientSession) -> None:
    async with _upstream("quay") as upstream:
        login = await _login(http, upstream)
        async with http.get(upstream.url + BLOB, headers=login, allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Docker-Content-Digest"] == LAYER.digest
            assert answer.headers["Cache-Control"] == "max-age=31536000"


async def test_quay_does_not_tell_when_a_token_expires(http: aiohttp.ClientSession) -> None:
    async with _upstream("quay") as upstream, http.get(upstream.gatekeeper.realm) as answer:
        assert set(await answer.json()) == {"token"}


async def test_gcr_redirects_relatively_and_sends_large_headers(http: aiohttp.ClientSession) -> None:
    async with _upstream("gcr") as upstream:
        login = await _login(http, upstream)
        async with http.get(upstream.url + BLOB, headers=login, allow_redirects=False) as answer:
            assert answer.headers["Location"].startswith("/artifacts-downloads/")
        async with http.get(upstream.url + MANIFEST, headers=login) as answer:
            assert len(answer.headers["X-Padding"]) == 60_000


async def test_k8s_redirects_manifests_without_the_query_and_needs_no_login(
    http: aiohttp.ClientSession,
) -> None:
    async with _upstream("k8s") as upstream:
        assert await _status(http, upstream.url + "/v2/") == 200
        async with http.get(upstream.url + MANIFEST + "?x=1", allow_redirects=False) as answer:
            assert answer.status == 307
            expected = "/v2/k8s-artifacts-prod/images/acme/app/manifests/latest"
            assert answer.headers["Location"] == upstream.base("backend") + expected
        assert await _status(http, upstream.url + "/v2/", "DELETE") == 405
        assert await _status(http, upstream.url + "/v2/_catalog") == 404


async def test_k8s_redirects_missing_blobs_blindly(http: aiohttp.ClientSession) -> None:
    async with _upstream("k8s") as upstream:
        missing = f"{upstream.url}/v2/acme/app/blobs/sha256:{'0' * 64}"
        assert await _status(http, missing) == 307
        async with http.get(missing) as answer:
            assert answer.status == 403


async def test_ecr_public_ways(http: aiohttp.ClientSession) -> None:
    clock = ManualClock()
    upstream = SimulatedUpstream("ecr-public", clock=clock)
    upstream.push("acme/app", IMAGE, "latest")
    async with upstream:
        login = await _token(http, upstream)
        assert await _status(http, upstream.url + BLOB, "HEAD", **login) == 401
        async with http.head(upstream.url + MANIFEST, headers=login) as answer:
            assert answer.status == 200
            assert not {"Docker-Content-Digest", "Content-Length"} & set(answer.headers)
        clock.advance(301)
        async with http.get(upstream.url + MANIFEST, headers=login) as answer:
            assert answer.status == 400
            assert "WWW-Authenticate" not in answer.headers


async def test_nvcr_names_another_realm_after_an_expired_token(http: aiohttp.ClientSession) -> None:
    async with _upstream("nvcr") as upstream:
        login = await _login(http, upstream)
        upstream.kill_tokens()
        async with http.get(upstream.url + MANIFEST, headers=login) as answer:
            assert "expired-token.nvcr.invalid" in answer.headers["WWW-Authenticate"]
        async with http.get(upstream.url + MANIFEST) as answer:
            assert upstream.gatekeeper.realm in answer.headers["WWW-Authenticate"]


async def test_lscr_sends_everything_to_another_registry_that_has_its_own_token_server(
    http: aiohttp.ClientSession,
) -> None:
    async with _upstream("lscr") as upstream:
        for path in (MANIFEST, BLOB):
            async with http.get(upstream.url + path, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (307, upstream.base("backend") + path)
        async with http.get(upstream.base("backend") + MANIFEST) as answer:
            assert f'realm="{upstream.base("backend")}/token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("kind", ["dockerhub", "ghcr", "basic"])
async def test_private_repository_is_only_for_its_readers(kind: str, http: aiohttp.ClientSession) -> None:
    async with _upstream(kind) as upstream:
        upstream.add_user("bob", "other")
        upstream.make_private("acme/app", "ann")
        statuses = []
        for user, password in (("ann", "secret"), ("bob", "other")):
            headers = {"Authorization": _basic(user, password)}
            if kind != "basic":
                query = {"scope": "repository:acme/app:pull"}
                async with http.get(upstream.gatekeeper.realm, params=query, headers=headers) as answer:
                    token = (await answer.json()).get("token", "none")
                headers = {"Authorization": f"Bearer {token}"}
            statuses.append(await _status(http, upstream.url + MANIFEST, **headers))
        assert statuses == [200, 403 if kind == "basic" else 401]


async def test_token_of_one_repository_is_no_good_for_another(http: aiohttp.ClientSession) -> None:
    async with _upstream("dockerhub") as upstream:
        upstream.push("acme/other", IMAGE, "latest")
        login = await _token(http, upstream)
        assert await _status(http, f"{upstream.url}/v2/acme/other/manifests/latest", **login) == 401


@pytest.mark.parametrize(("status", "challenge"), [(401, True), (401, False), (403, False), (400, False)])
async def test_killed_tokens_are_refused_and_new_ones_work(
    status: int, challenge: bool, http: aiohttp.ClientSession
) -> None:
    async with _upstream("dockerhub") as upstream:
        login = await _login(http, upstream)
        upstream.kill_tokens(status=status, challenge=challenge)
        async with http.get(upstream.url + MANIFEST, headers=login) as answer:
            assert (answer.status, "WWW-Authenticate" in answer.headers) == (status, challenge)
        assert await _status(http, upstream.url + MANIFEST, **await _login(http, upstream)) == 200


@pytest.mark.parametrize("absolute", [False, True])
async def test_tags_come_in_pages(absolute: bool, http: aiohttp.ClientSession) -> None:
    async with _upstream("plain", absolute_links=absolute) as upstream:
        upstream.push("acme/app", IMAGE, "a", "b", "c")
        async with http.get(f"{upstream.url}/v2/acme/app/tags/list?n=2") as answer:
            assert (await answer.json())["tags"] == ["a", "b"]
            link = answer.headers["Link"]
        base = upstream.url if absolute else ""
        assert link == f'<{base}/v2/acme/app/tags/list?last=b&n=2>; rel="next"'
        async with http.get(f"{upstream.url}/v2/acme/app/tags/list?last=b&n=2") as answer:
            assert (await answer.json())["tags"] == ["c", "latest"]
            assert "Link" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=4000-", 206, slice(4000, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=0-99999999", 206, slice(0, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("lines=1-2", 200, slice(0, None)),
    ],
)
async def test_blob_ranges(asked: str, status: int, span: slice, http: aiohttp.ClientSession) -> None:
    async with (
        _upstream("plain") as upstream,
        http.get(upstream.url + BLOB, headers={"Range": asked}) as answer,
    ):
        assert answer.status == status
        assert await answer.read() == LAYER.raw[span]


async def test_known_etag_gets_304(http: aiohttp.ClientSession) -> None:
    async with _upstream("plain") as upstream:
        known = CIMultiDict({"If-None-Match": f'"{IMAGE.digest}"'})
        assert await _status(http, upstream.url + MANIFEST, **known) == 304
