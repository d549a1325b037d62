"""Every real client pulls from a simulated upstream, and what it pulled runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.clients import Containerd, Docker, Podman, Skopeo
from tests.kit.processes import CommandError
from tests.kit.remote import Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.remote import RemoteUpstream

EVERYTHING = images.multi_platform()


@pytest.fixture(scope="module")
def hello() -> images.Image:
    return images.runnable_image()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, hello: images.Image) -> Iterator[RemoteUpstream]:
    with Simulators(["dockerhub"], tmp_path_factory.mktemp("upstreams")) as upstreams:
        hub = upstreams["dockerhub"]
        hub.push("library/hello", hello, "latest")
        hub.push("library/hello", images.runnable_image(docker=True), "docker")
        hub.push("library/many", EVERYTHING, "latest")
        hub.push("private/app", hello, "latest")
        hub.admit("ann", "secret", only_to="private/app")
        yield hub


def test_skopeo(upstream: RemoteUpstream, hello: images.Image) -> None:
    with Skopeo() as skopeo:
        pulled = skopeo.copy(f"{upstream.host}/library/hello:latest", tls_verify=False)
        assert (pulled / "manifest.json").read_bytes() == hello.raw
        assert (pulled / hello.layers[0].digest[7:]).read_bytes() == hello.layers[0].raw
        assert skopeo.tags(f"{upstream.host}/library/hello", tls_verify=False) == ["docker", "latest"]


def test_skopeo_copies_every_platform(upstream: RemoteUpstream) -> None:
    with Skopeo() as skopeo:
        pulled = skopeo.copy(f"{upstream.host}/library/many", tls_verify=False, every_platform=True)
        assert (pulled / "manifest.json").read_bytes() == EVERYTHING.raw
        assert all((pulled / blob.digest[7:]).exists() for blob in EVERYTHING.blobs)


def _mirrored(upstream: RemoteUpstream) -> str:
    mirror = f'[[registry.mirror]]\nlocation = "{upstream.host}"\ninsecure = true\n'
    return f'[[registry]]\nlocation = "docker.io"\n{mirror}'


def test_skopeo_uses_a_mirror(upstream: RemoteUpstream) -> None:
    with Skopeo(registries=_mirrored(upstream)) as skopeo:
        assert skopeo.inspect_raw("docker.io/library/many") == EVERYTHING.raw


def test_skopeo_logs_in(upstream: RemoteUpstream) -> None:
    with Skopeo() as skopeo:
        with pytest.raises(CommandError, match="invalid username/password"):
            skopeo.login(upstream.host, "ann", "wrong", tls_verify=False)
        skopeo.login(upstream.host, "ann", "secret", tls_verify=False)
        skopeo.copy(f"{upstream.host}/private/app", tls_verify=False)


def test_podman(upstream: RemoteUpstream) -> None:
    with Podman() as podman:
        podman.pull(f"{upstream.host}/library/hello:docker", tls_verify=False)
        assert podman.run(f"{upstream.host}/library/hello:docker") == "hello\n"


def test_podman_uses_a_mirror(upstream: RemoteUpstream) -> None:
    with Podman(registries=_mirrored(upstream)) as podman:
        podman.pull("docker.io/library/hello:latest")
        assert podman.run("docker.io/library/hello:latest") == "hello\n"


def test_podman_logs_in(upstream: RemoteUpstream) -> None:
    with Podman() as podman:
        podman.login(upstream.host, "ann", "secret", tls_verify=False)
        podman.pull(f"{upstream.host}/private/app", tls_verify=False)


def test_containerd(upstream: RemoteUpstream) -> None:
    toml = f'server = "{upstream.url}"\n[host."{upstream.url}"]\ncapabilities = ["pull", "resolve"]\n'
    with Containerd(hosts={"docker.io": toml}) as containerd:
        containerd.pull("docker.io/library/hello:latest")
        assert containerd.run("docker.io/library/hello:latest") == "hello\n"
        containerd.pull("docker.io/private/app:latest", user="ann:secret")


def test_docker(upstream: RemoteUpstream) -> None:
    with Docker(mirrors=[upstream.url]) as docker:
        docker.pull("hello:latest")
        assert docker.run("hello:latest") == "hello\n"


def test_docker_logs_in(upstream: RemoteUpstream) -> None:
    with Docker(insecure=[upstream.host]) as docker:
        docker.login(upstream.host, "ann", "secret")
        docker.pull(f"{upstream.host}/private/app:latest")
