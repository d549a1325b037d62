"""Which upstream a request means: pure tables, and a few of them through the real server."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit import images
from tests.server.harness import Edge, serving

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Digest, Repository, Tag
from registry_proxy.server.routes import (
    BlobOf,
    CatalogOf,
    ManifestOf,
    Ping,
    ReferrersOf,
    Router,
    TagsOf,
    parse_target,
)

if TYPE_CHECKING:
    from tests.cache.harness import Site

HEX = "a" * 64
DIGEST = Digest("sha256", HEX)


@dataclass(frozen=True)
class Registry:
    """An upstream, as far as routing knows it."""

    registry: str
    library: bool = False

    def canonical(self, repository: Repository) -> Repository:
        if self.library and "/" not in repository.name:
            return Repository(f"library/{repository.name}")
        return repository


HUB, GHCR, PRIVATE = Registry("docker.io", library=True), Registry("ghcr.io"), Registry("registry:5000")
ROUTER = Router(
    {"hub.test": HUB, "ghcr.test": GHCR, "[::1]": GHCR, "192.0.2.1": GHCR},
    {"docker.io": HUB, "index.docker.io": HUB, "ghcr.io": GHCR, "registry:5000": PRIVATE},
    HUB,
    {"quay.test": "quay.io"},
    frozenset({"cache.test", "localhost"}),
)


def named(name: str) -> Repository:
    """The name as it is in a path."""
    endpoint, _ = parse_target(f"/v2/{name}/tags/list")
    assert isinstance(endpoint, TagsOf)
    return endpoint.name


@pytest.mark.parametrize(
    ("host", "ns", "name", "registry", "repository"),
    [
        # By the name's first part, else the default.
        ("cache.test", None, "alpine", HUB, "library/alpine"),
        ("cache.test", None, "acme/app", HUB, "acme/app"),
        ("cache.test", None, "ghcr.io/acme/app", GHCR, "acme/app"),
        ("cache.test", None, "docker.io/alpine", HUB, "library/alpine"),
        ("cache.test", None, "index.docker.io/acme/app", HUB, "acme/app"),
        ("cache.test", None, "ghcr.io", HUB, "library/ghcr.io"),
        ("", None, "alpine", HUB, "library/alpine"),
        ("cache.test", None, "registry:5000/acme/app", PRIVATE, "acme/app"),
        ("cache.test", None, "registry:5000/app", PRIVATE, "app"),
        ("unknown.test", None, "registry:5000/app", PRIVATE, "app"),
        ("cache.test", "registry:5000", "registry:5000/app", PRIVATE, "app"),
        # By `ns`; BuildKit sends the prefix beside it.
        ("cache.test", "ghcr.io", "acme/app", GHCR, "acme/app"),
        ("cache.test", "GHCR.io", "acme/app", GHCR, "acme/app"),
        ("cache.test", "docker.io", "docker.io/library/alpine", HUB, "library/alpine"),
        ("cache.test", "docker.io", "alpine", HUB, "library/alpine"),
        ("cache.test", "docker.io", "ghcr.io/acme/app", HUB, "ghcr.io/acme/app"),
        ("cache.test", "registry:5000", "acme/app", PRIVATE, "acme/app"),
        # By the cache's hostname, whatever else is said.
        ("ghcr.test", None, "acme/app", GHCR, "acme/app"),
        ("ghcr.test:5000", None, "acme/app", GHCR, "acme/app"),
        ("ghcr.test", "docker.io", "acme/app", GHCR, "acme/app"),
        ("ghcr.test", "nonsense", "acme/app", GHCR, "acme/app"),
        ("ghcr.test", None, "ghcr.io/acme/app", GHCR, "acme/app"),
        ("hub.test", None, "alpine", HUB, "library/alpine"),
        ("hub.test", None, "ghcr.io/acme/app", HUB, "ghcr.io/acme/app"),
        ("[::1]", None, "acme/app", GHCR, "acme/app"),
        ("[::1]:5000", None, "acme/app", GHCR, "acme/app"),
        ("192.0.2.1:5000", None, "acme/app", GHCR, "acme/app"),
        # An empty port is none (RFC 3986, section 3.2.3), and a dot ends an absolute name.
        ("ghcr.test:", None, "alpine", GHCR, "alpine"),
        ("ghcr.test.", None, "alpine", GHCR, "alpine"),
        ("ghcr.test.:5000", None, "alpine", GHCR, "alpine"),
        # The default is available at the server's own names, and at every address.
        ("cache.test.:5000", None, "alpine", HUB, "library/alpine"),
        ("localhost", None, "alpine", HUB, "library/alpine"),
        ("192.0.2.2", None, "alpine", HUB, "library/alpine"),
        ("[::2]:5000", None, "alpine", HUB, "library/alpine"),
        # An unknown host name does not matter if the request names its registry.
        ("unknown.test", None, "ghcr.io/acme/app", GHCR, "acme/app"),
        ("unknown.test", "docker.io", "alpine", HUB, "library/alpine"),
    ],
)
def test_routes(host: str, ns: str | None, name: str, registry: Registry, repository: str) -> None:
    upstream, found = ROUTER.route(host, ns, named(name))
    assert (upstream, upstream.canonical(found)) == (registry, Repository(repository))


@pytest.mark.parametrize(
    ("ns", "name"),
    [
        ("unknown.test", "acme/app"),
        ("", "acme/app"),
        ("http://169.254.169.254/", "acme/app"),
        ("ghcr.io/", "acme/app"),
        ("ghcr.io:443", "acme/app"),
        ("\r\nX: y", "acme/app"),
        (None, "quay.io/acme/app"),
        (None, "unknown.test/acme/app"),
        (None, "registry:5001/acme/app"),
        (None, "docker.io:443/acme/app"),
    ],
)
def test_unknown_registries_are_told_with_those_that_are_known(ns: str | None, name: str) -> None:
    with pytest.raises(RegistryError, match=r"docker\.io, ghcr\.io") as caught:
        ROUTER.route("cache.test", ns, named(name))
    assert caught.value.code is ErrorCode.NAME_UNKNOWN
    assert "\r" not in caught.value.message


@pytest.mark.parametrize(
    "host",
    [
        "unknown.test",
        "xghcr.test",
        "ghcr.test:x",
        "ghcr.test..",
        "ghcr.io",
        "hub",
        "\u00e9",
        "1.2.3",
        "[::g]",
    ],
)
def test_an_unknown_host_name_leads_nowhere(host: str) -> None:
    with pytest.raises(RegistryError, match=r"cache\.test, ghcr\.test, hub\.test") as caught:
        ROUTER.route(host, None, Repository("alpine"))
    assert caught.value.code is ErrorCode.NAME_UNKNOWN


@pytest.mark.parametrize("host", ["quay.test", "quay.test.", "quay.test:5000"])
@pytest.mark.parametrize(("ns", "name"), [(None, "alpine"), ("ghcr.io", "app"), (None, "ghcr.io/acme/app")])
def test_the_host_name_of_an_upstream_that_is_off_leads_nowhere(host: str, ns: str | None, name: str) -> None:
    with pytest.raises(
        RegistryError, match=r"quay\.test is the host name of quay\.io, which is off"
    ) as caught:
        ROUTER.route(host, ns, Repository(name))
    assert caught.value.code is ErrorCode.NAME_UNKNOWN


def test_without_host_names_every_one_leads_to_the_default() -> None:
    router = Router({}, {"docker.io": HUB}, HUB)
    assert router.route("unknown.test", None, Repository("alpine")) == (HUB, Repository("alpine"))


def test_without_a_default_a_name_without_a_registry_is_unknown() -> None:
    router = Router({}, {"ghcr.io": GHCR}, None)
    assert router.route("x", None, Repository("ghcr.io/acme/app")) == (GHCR, Repository("acme/app"))
    with pytest.raises(RegistryError, match=r"docker\.io"):
        router.route("x", None, Repository("alpine"))


@pytest.mark.parametrize(
    ("host", "ns", "name"),
    [
        ("cache.test", "docker.io", "registry:5000/app"),
        ("cache.test", "docker.io", "unknown:5000/app"),
        ("ghcr.test", None, "registry:5000/app"),
    ],
)
def test_a_registry_with_a_port_is_no_part_of_another_ones_name(host: str, ns: str | None, name: str) -> None:
    with pytest.raises(RegistryError, match="but the request is for") as caught:
        ROUTER.route(host, ns, named(name))
    assert caught.value.code is ErrorCode.NAME_INVALID


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("/v2", Ping()),
        ("/v2/", Ping()),
        ("/v2/_catalog", CatalogOf()),
        ("/v2/a/manifests/latest", ManifestOf(Repository("a"), Tag("latest"))),
        (f"/v2/a/b/c/manifests/sha256:{HEX}", ManifestOf(Repository("a/b/c"), DIGEST)),
        ("/v2/a/manifests/b/manifests/c", ManifestOf(Repository("a/manifests/b"), Tag("c"))),
        ("/v2/tags/list/tags/list", TagsOf(Repository("tags/list"))),
        (f"/v2/a/blobs/sha256:{HEX}", BlobOf(Repository("a"), DIGEST)),
        (f"/v2/a/blobs/sha512:{HEX * 2}", BlobOf(Repository("a"), Digest("sha512", HEX * 2))),
        (f"/v2/a/referrers/sha256:{HEX}", ReferrersOf(Repository("a"), DIGEST)),
    ],
)
def test_targets(target: str, endpoint: object) -> None:
    assert parse_target(target) == (endpoint, {})
    assert parse_target(f"{target}?ns=x&n=&last=%2F&n=3") == (endpoint, {"ns": "x", "n": "3", "last": "/"})


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("", ErrorCode.NAME_UNKNOWN),
        ("/", ErrorCode.NAME_UNKNOWN),
        ("*", ErrorCode.NAME_UNKNOWN),
        ("/v1/", ErrorCode.NAME_UNKNOWN),
        ("v2/", ErrorCode.NAME_UNKNOWN),
        ("//v2/", ErrorCode.NAME_UNKNOWN),
        ("/v2//", ErrorCode.NAME_UNKNOWN),
        ("/V2/", ErrorCode.NAME_UNKNOWN),
        ("/v2/a", ErrorCode.NAME_UNKNOWN),
        ("/v2/_catalog/", ErrorCode.NAME_UNKNOWN),
        ("/v2/manifests/latest", ErrorCode.NAME_UNKNOWN),
        ("/v2/a/tags", ErrorCode.NAME_UNKNOWN),
        ("/v2/a/blobs/uploads/", ErrorCode.NAME_UNKNOWN),
        ("/v2//manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a//b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/../manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a/../b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/./a/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/A/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/ä/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a\\b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a;b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/-a/manifests/latest", ErrorCode.NAME_INVALID),
        (f"/v2/{'a' * 256}/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a%2fb/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:5000/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:/b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:b/c/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:500000/b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:5000:5000/b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a@b:5000/b/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/b/a:5000/c/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a:5000/../c/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a/manifests/%2e%2e", ErrorCode.NAME_INVALID),
        ("/v2/%00/manifests/latest", ErrorCode.NAME_INVALID),
        ("/v2/a/manifests/", ErrorCode.TAG_INVALID),
        ("/v2/a/manifests/..", ErrorCode.TAG_INVALID),
        ("/v2/a/manifests/-x", ErrorCode.TAG_INVALID),
        (f"/v2/a/manifests/{'x' * 129}", ErrorCode.TAG_INVALID),
        ("/v2/a/manifests/sha256:", ErrorCode.DIGEST_INVALID),
        (f"/v2/a/manifests/sha256:{'A' * 64}", ErrorCode.DIGEST_INVALID),
        (f"/v2/a/manifests/sha256:{'a' * 63}", ErrorCode.DIGEST_INVALID),
        (f"/v2/a/manifests/md5:{'a' * 32}", ErrorCode.DIGEST_INVALID),
        ("/v2/a/blobs/latest", ErrorCode.DIGEST_INVALID),
        ("/v2/a/blobs/", ErrorCode.DIGEST_INVALID),
        ("/v2/a/referrers/latest", ErrorCode.DIGEST_INVALID),
        ("/v2/?" + "&".join("a=b" for _ in range(20)), ErrorCode.REQUEST_INVALID),
    ],
)
def test_refused_targets(target: str, code: ErrorCode) -> None:
    with pytest.raises(RegistryError) as caught:
        parse_target(target)
    assert caught.value.code is code


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_any_target_is_an_endpoint_or_a_registry_error(text: str) -> None:
    for target in (text, f"/v2/{text}", f"/v2/{text}/manifests/latest", f"/v2/a/manifests/{text}"):
        with suppress(RegistryError):
            parse_target(target)


@given(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.none() | st.text(max_size=40),
    st.from_regex(r"[a-z0-9]{1,5}(\.[a-z]{1,3})?(/[a-z0-9]{1,5}){0,3}", fullmatch=True),
)
def test_any_host_and_namespace_lead_to_a_configured_registry_or_nowhere(
    host: str, ns: str | None, name: str
) -> None:
    with suppress(RegistryError):
        registry, _ = ROUTER.route(host, ns, Repository(name))
        assert registry in {HUB, GHCR, PRIVATE}


class TestOverHttp:
    async def test_each_way_leads_to_its_registry(self, site: Site) -> None:
        ours, theirs = images.image(seed=1), images.image(seed=2)
        site.simulated.push("acme/app", ours, "latest")
        elsewhere = await site.simulate()
        elsewhere.push("acme/app", theirs, "latest")
        other = site.client(elsewhere, "elsewhere.test")
        async with site.worker() as worker, serving(site, worker, other=other) as edge:
            path = "acme/app/manifests/latest"
            for _ in range(2):  # the second time from memory
                assert (await edge.get(f"/v2/{path}")).body == ours.raw
                assert (await edge.get(f"/v2/elsewhere.test/{path}")).body == theirs.raw
                assert (await edge.get(f"/v2/{path}", host="hub.other.test:5000")).body == theirs.raw
                answer = await edge.get(f"/v2/{path}?ns=elsewhere.test")
                assert (answer.body, answer.headers["oci-namespace"]) == (theirs.raw, "elsewhere.test")
                answer = await edge.get(f"/v2/elsewhere.test/{path}?ns=elsewhere.test")
                assert answer.body == theirs.raw
                assert (await edge.get(f"/v2/{path}?ns=registry.test")).body == ours.raw
                # The host of an absolute target takes precedence over the header (RFC 9112, section 3.2.2).
                for target in ("http://hub.other.test", "HTTPS://Hub.Other.test:5000"):
                    assert (await edge.get(f"{target}/v2/{path}")).body == theirs.raw
                answer = await edge.get(f"http://cache.test/v2/{path}", host="hub.other.test")
                assert answer.body == ours.raw

    async def test_a_registry_with_a_port_is_selected_by_its_name_in_the_path(self, site: Site) -> None:
        image = images.image(layers=1)
        elsewhere = await site.simulate()
        elsewhere.push("acme/app", image, "a", "b")
        other = site.client(elsewhere, "registry.test:5000")
        async with site.worker() as worker, serving(site, worker, other=other) as edge:
            name = "registry.test:5000/acme/app"
            for target in (f"/v2/{name}/manifests/a", f"http://cache.test/v2/{name}/manifests/a"):
                assert (await edge.get(target)).body == image.raw
            blob = image.layers[0]
            assert (await edge.get(f"/v2/{name}/blobs/{blob.digest}")).body == blob.raw
            page = await edge.get(f"/v2/{name}/tags/list?n=1")
            assert json.loads(page.body) == {"name": name, "tags": ["a"]}
            following = page.headers["link"].partition("<")[2].partition(">")[0]
            assert json.loads((await edge.get(following)).body)["tags"] == ["b"]

    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("http://cache.test", 404),
            ("http://cache.test?n=1", 404),
            ("http://cache.test/v2/", 200),
            ("http://user@cache.test/v2/", 404),
            ("http:///v2/", 404),
            ("ftp://cache.test/v2/", 404),
            ("http://evil.test@cache.test/v2/", 404),
        ],
    )
    async def test_odd_absolute_targets(self, edge: Edge, target: str, status: int) -> None:
        assert (await edge.get(target)).status == status

    @pytest.mark.parametrize(
        "target", ["/v2/?ns=evil.test", "/v2/_catalog?ns=evil.test", "/v2/a/tags/list?ns=e"]
    )
    async def test_an_unknown_namespace_is_no_address(self, edge: Edge, target: str) -> None:
        answer = await edge.get(target)
        assert answer.status == 404
        [error] = json.loads(answer.body)["errors"]
        assert error["code"] == "NAME_UNKNOWN"
        assert "oci-namespace" not in answer.headers
        assert "cache-status" in answer.headers
        assert not edge.site.simulated.requests

    @pytest.mark.parametrize(
        "target", ["http://cache.test/v2/", "http://evil.test/v2/", "*", "cache.test:80"]
    )
    async def test_other_forms_of_targets(self, edge: Edge, target: str) -> None:
        answer = await edge.get(target, "OPTIONS" if target == "*" else "GET")
        assert 400 <= answer.status < 500 or (answer.status == 200 and target.startswith("http"))
        assert "cache-status" in answer.headers
