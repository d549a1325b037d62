"""Registries with a port in their name, and a cache with a port: the real clients pull through what is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.commands.client.sealed import (
    ADDRESS,
    DOMAIN,
    HUB,
    NAMES,
    PLAIN,
    DockersContainerd,
    Place,
    SystemContainerd,
    SystemDocker,
    SystemPodman,
    SystemSkopeo,
)
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.processes import run, running
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGISTRY = "registry.test:5000"
CORP = f"corp.{DOMAIN}"
UPSTREAM = f'[upstreams.corp]\nregistry = "{REGISTRY}"\n'
TLS = f"""
[server]
listen = []
[tls]
cert = "server.pem"
key = "server.key"
listen = ["{ADDRESS}:8443"]
http = []
hostnames = ["{DOMAIN}"]
"""
IMAGE = images.runnable_image(greeting="through the cache")


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and the host by which it serves the registry; with TLS, its authority is private."""

    toml: str
    host: str

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--ca={}/authority.pem",) if "[tls]" in self.toml else ()


CASES = {
    "plain": Case(PLAIN + UPSTREAM, f"{ADDRESS}:5000/registry.test_5000"),
    "one host": Case(TLS + UPSTREAM, f"{DOMAIN}:8443/registry.test_5000"),
    "a host each": Case(
        f'{TLS}{UPSTREAM}hostname = "{CORP}"\n[upstreams.dockerhub]\nhostname = "{HUB}"\n', f"{CORP}:8443"
    ),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedNetwork]:
    names = {**NAMES, CORP: ADDRESS}
    with SealedNetwork(tmp_path_factory.mktemp("network"), Authority.create(), names) as network:
        run(network, ["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"])
        run(network, ["mount", "-t", "tmpfs", "tmpfs", "/var/lib"])
        yield network


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    authority = network.authority
    with Simulators(
        ["dockerhub", "plain"], folder, runner=network, authority=authority, real_names=True
    ) as each:
        each["dockerhub"].push("library/hello", IMAGE, "latest")
        each["plain"].push("acme/hello", IMAGE, "latest")
        yield each


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def place(
    case: Case, tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, upstreams: Simulators
) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("server"), network)
    place.issue(Authority.create(), "server", DOMAIN, CORP, HUB)
    with running(place.serve(case.toml)):
        yield place


@pytest.fixture(autouse=True)
def _through_the_cache_alone(upstreams: Simulators) -> Iterator[None]:
    """Nobody but the server asks the registry."""
    upstreams["plain"].clear()
    yield
    requests = upstreams["plain"].requests
    assert {each.headers["User-Agent"].partition("/")[0] for each in requests} <= {"registry-proxy"}


@pytest.fixture
def apply(place: Place, case: Case) -> Iterator[Callable[[str], None]]:
    """Set a client up; afterwards its files are undone."""
    applied = []

    def apply(kind: str) -> None:
        flags = [flag.format(place.folder) for flag in case.flags]
        place.client(kind, "--apply", "--yes", *flags, PATH=place.modern_docker())
        applied.append(kind)

    yield apply
    for kind in applied:
        place.client(kind, "--undo", "--yes")


NAME = f"{REGISTRY}/acme/hello:latest"


def test_containerd_pulls(place: Place, apply: Callable[[str], None]) -> None:
    apply("containerd")
    with SystemContainerd(place.network) as containerd:
        containerd.pull_by_hosts(NAME)
        assert containerd.run(NAME) == "through the cache\n"


@pytest.fixture
def other_name(place: Place) -> Iterator[None]:
    """The registry's folder is there already, under the name that containerd prefers."""
    folder = place.inside(f"/etc/containerd/certs.d/{REGISTRY.replace(':', '_')}_")
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "https://{REGISTRY}"\n')
    yield
    shutil.rmtree(folder)


@pytest.mark.usefixtures("other_name")
def test_containerd_pulls_where_the_folder_has_its_other_name(
    place: Place, apply: Callable[[str], None]
) -> None:
    apply("containerd")
    with SystemContainerd(place.network) as containerd:
        containerd.pull_by_hosts(NAME)


def test_dockers_hosts_lead_to_the_cache(place: Place, apply: Callable[[str], None]) -> None:
    apply("docker")
    with DockersContainerd(place.network) as containerd:
        containerd.pull_by_hosts(NAME)


def test_podman_pulls(place: Place, apply: Callable[[str], None]) -> None:
    apply("podman")
    with SystemPodman(place) as podman:
        podman.pull(NAME)
        assert podman.run(NAME) == "through the cache\n"


def test_skopeo_pulls(place: Place, apply: Callable[[str], None]) -> None:
    apply("skopeo")
    with SystemSkopeo(place) as skopeo:
        assert skopeo.inspect(NAME) == IMAGE.manifest.raw


def test_docker_pulls_by_the_name_of_the_cache(
    place: Place, case: Case, apply: Callable[[str], None]
) -> None:
    docker = SystemDocker(place)
    apply("docker")
    with docker:
        docker.pull("hello")  # by the mirror of Docker Hub, which has a port as well
        if case.flags:  # without TLS, Docker only takes it from a mirror
            docker.pull(f"{case.host}/acme/hello")
            assert docker.run(f"{case.host}/acme/hello") == "through the cache\n"
