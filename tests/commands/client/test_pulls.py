"""The real clients pull through the server with nothing but the files that `client --apply` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.commands.client.sealed import (
    ADDRESS,
    DOMAIN,
    HOST_EACH,
    HUB,
    NAMES,
    ONE_HOST,
    PLAIN,
    DockersContainerd,
    Place,
    SystemContainerd,
    SystemDocker,
    SystemPodman,
)
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.processes import CommandError, run, running
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = '[access]\nhtpasswd = "htpasswd"\n'
CERTIFICATE = '[access]\nclient_ca = "authority.pem"\nclient_names = ["*.nodes.example.com"]\n'
IMAGE = images.runnable_image(greeting="through the cache")


@dataclass(frozen=True, slots=True)
class Case:
    """A server's configuration, and what the client's command is told; `{}` is the server's folder.

    `private`: the server's certificate is from an authority that nobody trusts unless told.
    """

    toml: str
    flags: tuple[str, ...] = ()
    private: bool = False
    logs_in: bool = False
    host: str = DOMAIN


_LOGIN_FLAGS = ("--username=me", "--password-file={}/password")
_CERTIFICATE_FLAGS = ("--client-cert={}/client.pem", "--client-key={}/client.key")
CASES = {
    "plain": Case(PLAIN),
    "one host": Case(ONE_HOST),
    "a host each": Case(HOST_EACH, host=HUB),
    "private authority": Case(HOST_EACH, ("--ca={}/authority.pem",), private=True),
    "login": Case(HOST_EACH + LOGIN, _LOGIN_FLAGS, logs_in=True, host=HUB),
    "login, one private host": Case(
        ONE_HOST + LOGIN, ("--ca={}/authority.pem", *_LOGIN_FLAGS), private=True, logs_in=True
    ),
    "certificate": Case(HOST_EACH + CERTIFICATE, _CERTIFICATE_FLAGS),
    "certificate, one private host": Case(
        ONE_HOST + CERTIFICATE, ("--ca={}/authority.pem", *_CERTIFICATE_FLAGS), private=True
    ),
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    with SealedNetwork(tmp_path_factory.mktemp("network"), authority, NAMES) as network:
        run(network, ["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"])
        # What is written there is no concern of this machine.
        run(network, ["mount", "-t", "tmpfs", "tmpfs", "/var/lib"])
        yield network


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    names = ("dockerhub", "ghcr")
    with Simulators(names, folder, runner=network, authority=authority, real_names=True) as upstreams:
        upstreams["dockerhub"].push("library/hello", IMAGE, "latest")
        upstreams["ghcr"].push("acme/hello", IMAGE, "latest")
        yield upstreams


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def place(
    case: Case,
    tmp_path_factory: pytest.TempPathFactory,
    network: SealedNetwork,
    upstreams: Simulators,
    authority: Authority,
) -> Iterator[Place]:
    """A running server of the case."""
    place = Place(tmp_path_factory.mktemp("server"), network)
    issuer = Authority.create() if case.private else authority
    place.issue(issuer, "server", *NAMES)
    place.issue(issuer, "client", "node1.nodes.example.com")
    with running(place.serve(case.toml)):
        yield place


@pytest.fixture(autouse=True)
def _through_the_cache_alone(upstreams: Simulators) -> Iterator[None]:
    """Nobody but the server asks the registries."""
    for name in ("dockerhub", "ghcr"):
        upstreams[name].clear()
    yield
    requests = [*upstreams["dockerhub"].requests, *upstreams["ghcr"].requests]
    assert {each.headers["User-Agent"].partition("/")[0] for each in requests} <= {"registry-proxy"}


def apply(kind: str, place: Place, case: Case, **environ: str) -> None:
    flags = [flag.format(place.folder) for flag in case.flags]
    place.client(kind, "--apply", "--yes", *flags, **environ)


def undo(kind: str, place: Place) -> None:
    place.client(kind, "--undo", "--yes")


@pytest.fixture
def kind(request: pytest.FixtureRequest, place: Place, case: Case) -> Iterator[str]:
    """The client is set up for the test; afterwards the undo gives back the very bytes."""
    before = place.snapshot()
    apply(request.param, place, case, PATH=place.modern_docker())
    applied = place.snapshot()
    assert applied != before
    yield request.param
    undo(request.param, place)
    after = place.snapshot()
    paths = before.keys() | applied.keys()
    assert {path: after.get(path) for path in paths} == {path: before.get(path) for path in paths}


@pytest.mark.parametrize("kind", ["containerd"], indirect=True)
def test_containerd_pulls(kind: str, place: Place) -> None:
    with SystemContainerd(place.network) as containerd:
        for name in ("docker.io/library/hello:latest", "ghcr.io/acme/hello:latest"):
            containerd.pull_by_hosts(name)
            assert containerd.run(name) == "through the cache\n"


@pytest.mark.parametrize("kind", ["docker"], indirect=True)
def test_dockers_hosts_lead_to_the_cache(kind: str, place: Place) -> None:
    with DockersContainerd(place.network) as containerd:
        for name in ("docker.io/library/hello:latest", "ghcr.io/acme/hello:latest"):
            containerd.pull_by_hosts(name)


@pytest.mark.parametrize("kind", ["podman"], indirect=True)
def test_podman_pulls(kind: str, place: Place) -> None:
    with SystemPodman(place) as podman:
        for name in ("docker.io/library/hello", "ghcr.io/acme/hello"):
            podman.pull(name)
            assert podman.run(name) == "through the cache\n"


def test_docker_pulls(place: Place, case: Case) -> None:
    docker = SystemDocker(place)
    before = docker.settings.read_bytes()
    apply("docker", place, case)
    with docker:
        # The classic image store can't log in to a mirror.
        name = f"{case.host}/library/hello" if case.logs_in else "hello"
        docker.pull(name)
        assert docker.run(name) == "through the cache\n"
    undo("docker", place)
    assert docker.settings.read_bytes() == before


def test_a_client_that_is_not_set_up_is_refused(place: Place, case: Case) -> None:
    if "[access]" not in case.toml:
        place.client("containerd", "--json")
        return
    with pytest.raises(CommandError, match="this server requires credentials from every client"):
        place.client("containerd", "--apply", "--yes")
