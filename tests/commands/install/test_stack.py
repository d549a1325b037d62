"""`install compose` on a real Docker: the image is built, the stack comes up, and pulls go through it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.commands.install import stacks
from tests.commands.install.base_image import download_wheels
from tests.commands.install.stacks import BASE, Stack
from tests.kit import images
from tests.kit.clients import Docker, Skopeo
from tests.kit.remote import Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

INSTALL = ("install", "compose", "--yes", "--base", BASE)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    with stacks.open_network(tmp_path_factory.mktemp("network"), authority) as network:
        stacks.add_addresses(network)
        yield network


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    names = ["dockerhub", "ghcr"]
    folder = tmp_path_factory.mktemp("upstreams")
    with Simulators(names, folder, runner=network, authority=authority, real_names=True) as upstreams:
        yield upstreams


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork) -> Iterator[Docker]:
    wheels = tmp_path_factory.mktemp("wheels")
    download_wheels(wheels)
    with stacks.bridged_docker(network) as docker:
        stacks.import_base(docker, tmp_path_factory.mktemp("base"), wheels)
        yield docker


@pytest.fixture
def stack(docker: Docker, authority: Authority, tmp_path: Path) -> Iterator[Stack]:
    folder = tmp_path / "stack"
    folder.mkdir()
    stack = Stack(docker, folder, authority.save(tmp_path))
    stack.adapt("registry-proxy")
    yield stack
    # The image takes long to build, and is the same for all.
    for image in docker.docker("image", "ls", "--format", "{{.ID}}", "registry-proxy").split():
        docker.docker("tag", image, "kept:test")
    stack.program("uninstall", "compose", "--purge", "--yes")
    assert stack.names() == []
    assert stack.volumes() == []


def pull(network: SealedNetwork, image: images.Image, reference: str) -> None:
    with Skopeo(network) as skopeo:
        pulled = skopeo.copy(reference, tls_verify=False)
        for blob in image.blobs:
            assert (pulled / blob.digest[7:]).read_bytes() == blob.raw


def test_one_command_builds_starts_and_serves(
    stack: Stack, network: SealedNetwork, upstreams: Simulators
) -> None:
    image = images.image(layers=2, layer_size=2_000_000, seed=1)
    upstreams["dockerhub"].push("library/app", image, "v1")
    stack.configure("[upstreams.ghcr]\nusername = 'me'\npassword_file = 'ghcr'\n")
    (stack.folder / "ghcr").write_text("hunter2")
    (stack.folder / ".env").write_text(
        "REGISTRY_PROXY_QUAY_USERNAME=you\nREGISTRY_PROXY_QUAY_PASSWORD=a$b c\n"
    )
    done = stack.program(*INSTALL)
    assert "+services:" in done.stdout
    assert not any(secret in done.stdout for secret in ("hunter2", "a$b c"))
    for _ in range(2):
        pull(network, image, "127.0.0.1:5000/library/app:v1")
    assert upstreams["dockerhub"].transfers(image.layers[0].digest) == 1
    said = stack.docker.docker("exec", *stack.names(), "registry-proxy", "check-config", "--json")
    assert json.loads(said)["upstreams"]["quay"]["username"] == "you"
    assert stack.program(*INSTALL).stdout.startswith("Nothing to change.")


def test_the_container_has_no_rights_and_its_image_no_secrets(stack: Stack) -> None:
    (stack.folder / ".env").write_text(
        "REGISTRY_PROXY_QUAY_USERNAME=you\nREGISTRY_PROXY_QUAY_PASSWORD=hunter2\n"
    )
    stack.program(*INSTALL)
    found = stack.inspect("registry-proxy")
    assert found["Config"]["User"] == "10001:10001"
    host = found["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert (host["ReadonlyRootfs"], host["SecurityOpt"]) == (True, ["no-new-privileges:true"])
    status = stack.docker.docker("exec", *stack.names(), "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["10001"] * 4
    assert {fields[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    image = found["Image"]
    told = stack.docker.docker("history", "--no-trunc", image) + stack.docker.docker("inspect", image)
    assert "hunter2" not in told
    find = "import pathlib; print([*pathlib.Path('/').rglob('.env')])"
    assert stack.docker.docker("exec", *stack.names(), "python3", "-c", find) == "[]\n"


def test_each_registry_has_a_container_of_its_own_and_all_share_a_store(
    stack: Stack, network: SealedNetwork, upstreams: Simulators
) -> None:
    image = images.image(seed=2, layer_size=300_000)
    for name, repository in (("dockerhub", "library/app"), ("ghcr", "acme/app")):
        upstreams[name].push(repository, image, "v2")
    stack.configure("".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("quay", "gcr", "k8s")))
    stack.adapt("dockerhub", "ghcr")
    done = stack.program(*INSTALL, "--per-registry")
    assert "dockerhub: 127.0.0.1:5000\nghcr: 127.0.0.1:5001\n" in done.stdout
    assert [name.split("_")[-2] for name in stack.names()] == ["dockerhub", "ghcr"]
    pull(network, image, "127.0.0.1:5000/library/app:v2")
    pull(network, image, "127.0.0.1:5001/ghcr.io/acme/app:v2")
    layer = image.layers[0]
    assert upstreams["dockerhub"].transfers(layer.digest) == 1
    sent = sum(each.sent for each in upstreams["ghcr"].requests if each.reference == layer.digest)
    assert sent < layer.size


def test_an_update_that_fails_leaves_the_stack_as_it_ran(stack: Stack) -> None:
    stack.configure("")
    stack.program(*INSTALL)
    before = (stack.folder / "docker-compose.yaml").read_bytes()
    started = stack.inspect("registry-proxy")["State"]["StartedAt"]
    for name in ("cert.pem", "key.pem"):
        (stack.folder / name).write_text("-----BEGIN NONSENSE-----\n")
    stack.configure("[tls]\nlisten = ['127.0.0.1:8443']\nhttp = []\ncert = 'cert.pem'\nkey = 'key.pem'\n")
    done = stack.program(*INSTALL, code=1)
    assert "cert.pem" in done.stderr
    assert (stack.folder / "docker-compose.yaml").read_bytes() == before
    assert stack.inspect("registry-proxy")["State"]["StartedAt"] == started


def test_a_changed_configuration_is_checked_and_applied(stack: Stack) -> None:
    stack.configure("")
    stack.program(*INSTALL)
    started = stack.inspect("registry-proxy")["State"]["StartedAt"]
    stack.configure("[access]\nhtpasswd = 'users'\n")
    (stack.folder / "users").write_text("nonsense\n")
    assert "users" in stack.program(*INSTALL, code=1).stderr
    assert stack.inspect("registry-proxy")["State"]["StartedAt"] == started
    stack.configure("[cache]\ntag_ttl = '5m'\n")
    done = stack.program(*INSTALL)
    assert "The server is http://127.0.0.1:5000 (docker.io, " in done.stdout
    said = stack.docker.docker("exec", *stack.names(), "registry-proxy", "check-config", "--json")
    assert json.loads(said)["cache"]["tag_ttl"] == "5m"
    assert stack.program(*INSTALL).stdout.startswith("Nothing to change.")


def test_uninstalling_keeps_what_is_cached(stack: Stack) -> None:
    stack.configure("")
    stack.program(*INSTALL)
    volumes = stack.volumes()
    assert len(volumes) == 1
    done = stack.program("uninstall", "compose", "--yes")
    assert "--purge" in done.stdout
    assert stack.names() == []
    assert sorted(path.name for path in stack.folder.iterdir()) == [
        "docker-compose.override.yaml",
        "registry-proxy.toml",
    ]
    assert stack.volumes() == volumes
    stack.program(*INSTALL)
    assert stack.volumes() == volumes


def test_registry_2_is_the_cache_of_each_registry_where_that_is_wanted(
    stack: Stack, network: SealedNetwork, upstreams: Simulators, tmp_path: Path
) -> None:
    stacks.docker_registry_image(stack.docker, tmp_path)
    image = images.image(seed=3)
    hub = upstreams["dockerhub"]
    hub.push("acme/private", image, "v1")
    hub.admit("me", "hunter2 $x", only_to="acme/private")
    off = "".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("quay", "gcr", "k8s", "ghcr"))
    stack.configure(off)
    (stack.folder / ".env").write_text(
        "REGISTRY_PROXY_DOCKERHUB_USERNAME=me\nREGISTRY_PROXY_DOCKERHUB_PASSWORD='hunter2 $x'\n"
    )
    stack.adapt("dockerhub")
    done = stack.program("install", "compose", "--yes", "--engine", "registry2")
    assert "no disk budget" in done.stderr
    assert "hunter2" not in (stack.folder / "docker-compose.yaml").read_text() + done.stdout
    for _ in range(2):
        pull(network, image, "127.0.0.1:5000/acme/private:v1")
    host = stack.inspect("dockerhub")["HostConfig"]
    assert (host["CapDrop"], host["ReadonlyRootfs"]) == (["ALL"], True)


def test_a_port_that_is_taken_is_told_before_anything_changes(stack: Stack) -> None:
    stack.configure("[server]\nlisten = ['198.18.0.1:443']\n")
    done = stack.program(*INSTALL, code=1)
    assert "server.listen: can't listen on 198.18.0.1:443: Address already in use" in done.stderr
    assert not (stack.folder / "docker-compose.yaml").exists()


def test_a_daemon_that_cannot_be_reached_is_told_before_anything_changes(stack: Stack) -> None:
    done = stack.program(*INSTALL, code=1, DOCKER_HOST="unix:///nowhere.sock")
    assert "can't connect to the Docker daemon" in done.stderr
    assert not (stack.folder / "docker-compose.yaml").exists()
