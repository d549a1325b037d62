"""A registry's rule holds on each way to it, for each thing that can be asked, cold and warm, in each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.access.conftest import IMAGE
from tests.access.program import Program, ask, htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN = ("ann", "secret")
DIGEST, LAYER = IMAGE.manifest.digest, IMAGE.layers[0].digest
THINGS = [
    "manifests/latest",
    f"manifests/{DIGEST}",
    f"blobs/{LAYER}",
    "tags/list",
    f"referrers/{DIGEST}",
]
# The host that is asked, and the path and query, by the repository at ghcr.io and what is asked of it.
WAYS = {
    "host name": ("ghcr.example.com", "/v2/acme/hello/{thing}"),
    "host name with a port": ("ghcr.example.com:443", "/v2/acme/hello/{thing}"),
    "host name in capitals": ("GHCR.EXAMPLE.COM", "/v2/acme/hello/{thing}"),
    "ns": ("registry.example.com", "/v2/acme/hello/{thing}?ns=ghcr.io"),
    "ns in capitals": ("registry.example.com", "/v2/acme/hello/{thing}?ns=GHCR.IO"),
    "ns, and a host name of another": ("ghcr.example.com", "/v2/acme/hello/{thing}?ns=docker.io"),
    "prefix": ("registry.example.com", "/v2/ghcr.io/acme/hello/{thing}"),
    "prefix and ns": ("registry.example.com", "/v2/ghcr.io/acme/hello/{thing}?ns=ghcr.io"),
    "host name with a dot at its end": ("ghcr.example.com.", "/v2/acme/hello/{thing}"),
    "no host that is known": ("192.0.2.1", "/v2/ghcr.io/acme/hello/{thing}"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, registries: str) -> Iterator[Program]:
    """ghcr.io is for those who log in, Docker Hub for all."""
    folder = tmp_path_factory.mktemp("program")
    users = htpasswd(folder / "users", ann="secret")
    with Program(folder, f'{registries}access_htpasswd = "{users}"\n') as program:
        yield program


@pytest.fixture(scope="module", params=["cold", "warm"])
def warmth(request: pytest.FixtureRequest, program: Program) -> str:
    """Warm: everything was just given to somebody who may have it, by either worker."""
    if request.param == "warm":
        for host, path in WAYS.values():
            for thing in THINGS * 4:
                assert program.get(path.format(thing=thing), host=host, login=ANN).status == 200
    return str(request.param)


@pytest.mark.usefixtures("warmth")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_without_a_login(program: Program, way: str, thing: str, method: str) -> None:
    host, path = WAYS[way]
    target = path.format(thing=thing)
    answer = program.get(target, host=host, method=method)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="registry-proxy", charset="UTF-8"'
    assert DIGEST not in str(answer.headers)
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert method == "HEAD" or answer.code == "UNAUTHORIZED"
    assert program.get(target, host=host, method=method, login=ANN).status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": f'"{DIGEST}"'},
        {"Range": "bytes=0-0"},
        {"Accept": "*/*"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic Og=="},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "hub.example.com"},
        {"X-Original-URL": "/v2/"},
    ],
)
def test_no_header_is_a_way_around(program: Program, way: str, headers: dict[str, str]) -> None:
    host, path = WAYS[way]
    for thing in THINGS[:3]:
        target = path.format(thing=thing)
        answer = ask(program.connect(source="127.0.0.9"), target, host=host, headers=headers)
        # Wrong logins are counted, and at last not even looked at.
        assert answer.status in ({401, 429} if "Authorization" in headers else {401})


def test_what_is_open_stays_open(program: Program) -> None:
    for thing in THINGS:
        assert program.get(f"/v2/library/hello/{thing}").status == 200
        assert program.get(f"/v2/hello/{thing}", host="hub.example.com").status == 200
        assert program.get(f"/v2/library/hello/{thing}?ns=docker.io").status == 200
        assert program.get(f"/v2/docker.io/library/hello/{thing}").status == 200


@pytest.mark.parametrize("host", ["unknown.example.com", "k8s.example.com", "K8S.example.com.:5000"])
def test_a_host_name_leads_where_it_says_or_nowhere(program: Program, host: str) -> None:
    for thing in THINGS:
        answer = program.get(f"/v2/library/hello/{thing}", host=host)
        assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
        assert host.lower().removesuffix(".:5000") in answer.json()["errors"][0]["message"]
    assert program.get("/v2/", host=host).status == (200 if host.startswith("unknown") else 404)


def test_the_ping_is_the_host_names(program: Program) -> None:
    """Clients learn from it that they have to log in."""
    assert program.get("/v2/", host="ghcr.example.com").status == 401
    assert program.get("/v2", host="ghcr.example.com").status == 401
    assert program.get("/v2/?ns=ghcr.io").status == 401
    assert program.get("/v2/", host="ghcr.example.com", login=ANN).status == 200
    assert program.get("/v2/", host="hub.example.com").status == 200
    assert program.get("/v2/").status == 200


def test_the_catalog_is_for_those_who_may_pull_all_of_it(program: Program) -> None:
    program.get("/v2/ghcr.io/acme/hello/manifests/latest", login=ANN)
    program.get("/v2/hello/manifests/latest")
    assert program.get("/v2/_catalog").status == 401
    assert program.get("/v2/_catalog", host="ghcr.example.com").status == 401
    assert program.get("/v2/_catalog?ns=ghcr.io").status == 401
    assert "acme/hello" in str(program.get("/v2/_catalog", login=ANN).json())
    assert program.get("/v2/_catalog?ns=ghcr.io", login=ANN).json() == {"repositories": ["acme/hello"]}
    assert program.get("/v2/_catalog", host="hub.example.com").json() == {"repositories": ["library/hello"]}


def test_a_registry_that_is_not_there_is_told_to_those_who_may_pull(
    program: Program, tmp_path_factory: pytest.TempPathFactory, registries: str
) -> None:
    assert "ghcr.io" in program.get("/v2/nowhere.example/x/manifests/1").json()["errors"][0]["message"]
    folder = tmp_path_factory.mktemp("closed")
    users = htpasswd(folder / "users", ann="secret")
    with Program(folder, f'{registries}[access]\nhtpasswd = "{users}"\n', workers=1) as closed:
        for target in ("/v2/nowhere.example/x/manifests/1", "/v2/?ns=nowhere.example", "/v2/_catalog?ns=x.y"):
            assert closed.get(target).status == 401
            assert closed.get(target, login=ANN).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(program: Program, method: str) -> None:
    for target in ("/v2/hello/manifests/latest", f"/v2/hello/blobs/{LAYER}", "/v2/", "/"):
        assert program.get(target, method=method, login=ANN).status == 405


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/metrics",
        "/status",
        "/health",
        "/admin",
        "/debug/pprof/",
        "/api/v0/",
        "/v1/",
        "/v2",
        "/v2/metrics",
        "/v2/_catalog/",
        "/v2/_admin",
        "/.env",
        "/registry-proxy.toml",
        "/v2/../registry-proxy.toml",
        "/v2/%2e%2e/users",
        "//v2/",
    ],
)
def test_nothing_administrative_is_reachable(program: Program, target: str) -> None:
    answer = program.get(target, login=ANN)
    assert answer.status in {400, 404} or (target == "/v2" and answer.json() == {})
    for told in (b"secret", b"127.0.0.1", b"ann", str(program.folder).encode()):
        assert told not in answer.body
