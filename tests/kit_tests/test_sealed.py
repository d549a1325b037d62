"""The sealed network: real names lead to the simulators, over trusted TLS, and nothing leads out."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.clients import Containerd, Docker, Podman
from tests.kit.processes import CommandError, Daemon, python, run
from tests.kit.profiles import FIVE
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = images.multi_platform()
NAMES = {
    "dockerhub": "docker.io/library/alpine",
    "ghcr": "ghcr.io/acme/app",
    "quay": "quay.io/acme/app",
    "gcr": "gcr.io/acme/app",
    "k8s": "registry.k8s.io/pause",
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    folder = tmp_path_factory.mktemp("net")
    with SealedNetwork(folder, authority, {"registry.example.com": "127.20.0.1"}) as network:
        yield network


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, sealed: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    names = [each.name for each in FIVE]
    with Simulators(names, folder, runner=sealed, authority=authority, real_names=True) as running:
        yield running


@pytest.mark.parametrize("kind", NAMES)
def test_skopeo_pulls_by_the_real_name_with_no_settings(
    kind: str, sealed: SealedNetwork, upstreams: Simulators
) -> None:
    host, _, repository = NAMES[kind].partition("/")
    upstreams[kind].push(repository, IMAGE, "v1")
    raw = run(sealed, ["skopeo", "inspect", "--raw", f"docker://{host}/{repository}:v1"])
    assert raw.encode() == IMAGE.raw
    assert upstreams[kind].count("GET", "manifest", "v1") == 1


@pytest.mark.parametrize("client", [Docker, Containerd, Podman])
def test_image_pulled_by_its_real_name_runs(
    client: type[Docker | Containerd | Podman], sealed: SealedNetwork, upstreams: Simulators
) -> None:
    upstreams["dockerhub"].push("library/hello", images.runnable_image(), "latest")
    with client(sealed) as running:
        running.pull("docker.io/library/hello:latest")
        assert running.run("docker.io/library/hello:latest") == "hello\n"


def test_python_trusts_the_authority(sealed: SealedNetwork, upstreams: Simulators) -> None:
    code = "import urllib.request as r; print(r.urlopen('https://registry.k8s.io/v2/').status)"
    assert run(sealed, python("-c", code)) == "200\n"


def test_server_inside_is_reached_from_outside(
    sealed: SealedNetwork, upstreams: Simulators, authority: Authority
) -> None:
    raw = sealed.connect((sealed.addresses["registry.k8s.io"], 443))
    with authority.client_context().wrap_socket(raw, server_hostname="registry.k8s.io") as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.k8s.io\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_further_names_resolve(sealed: SealedNetwork) -> None:
    assert run(sealed, ["getent", "hosts", "registry.example.com"]).split()[0] == "127.20.0.1"


def test_etc_and_run_are_its_own(sealed: SealedNetwork) -> None:
    run(sealed, ["sh", "-c", "echo changed > /etc/kit-test; echo > /run/kit-test"])
    assert sealed.path("/etc/kit-test").read_text() == "changed\n"
    assert not Path("/etc/kit-test").exists()
    assert not Path("/run/kit-test").exists()


def test_nothing_leads_out(sealed: SealedNetwork) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 443), 5)"
    with pytest.raises(CommandError, match="Network is unreachable"):
        run(sealed, python("-c", code))


def test_inhabitants_end_with_the_network_even_when_they_left_their_session(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with SealedNetwork(tmp_path, Authority.create()) as network:
        namespace = run(network, ["readlink", "/proc/self/ns/net"]).strip()
        script = f"setsid sleep 1000 & echo > {started}; exec sleep 1000"
        daemon = Daemon(network, ["sh", "-c", script], tmp_path / "log")
        daemon.wait_until(started.exists)
        assert len(_inhabitants(namespace)) >= 2
    assert daemon.process.wait(10) == -signal.SIGKILL
    assert _inhabitants(namespace) == []


def _inhabitants(namespace: str) -> list[Path]:
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            if str(link.readlink()) == namespace:
                found.append(link)
    return found
