"""Docker, containerd, podman and skopeo log in as their users know it, and pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.access.program import Program, basic, htpasswd
from tests.kit import images
from tests.kit.clients import Containerd, Docker, Podman, Skopeo
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.remote import RemoteUpstream

IMAGE = "ghcr.io/acme/runnable:latest"


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, upstream: RemoteUpstream, registries: str
) -> Iterator[Program]:
    upstream.push("acme/runnable", images.runnable_image(), "latest")
    folder = tmp_path_factory.mktemp("program")
    htpasswd(folder / "users", ann="secret")
    with Program(folder, f'{registries}[access]\nhtpasswd = "users"\n') as program:
        yield program


@pytest.fixture
def host(program: Program) -> str:
    return f"127.0.0.1:{program.port()}"


def mirror(host: str, prefix: str = "") -> str:
    """registries.conf with the cache as the mirror of ghcr.io."""
    return (
        '[[registry]]\nlocation = "ghcr.io"\n'
        f'[[registry.mirror]]\nlocation = "{host}{prefix}"\ninsecure = true\n'
    )


def test_docker_logs_in_and_pulls(host: str) -> None:
    with Docker() as docker:
        with pytest.raises(CommandError, match="no basic auth credentials"):
            docker.pull(f"{host}/{IMAGE}")
        with pytest.raises(CommandError, match="401 Unauthorized"):
            docker.login(host, "ann", "wrong")
        docker.login(host, "ann", "secret")
        docker.pull(f"{host}/{IMAGE}")
        assert docker.run(f"{host}/{IMAGE}") == "hello\n"


def test_containerd_pulls_with_a_header_in_its_hosts_file(host: str) -> None:
    toml = (
        f'server = "http://{host}"\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'
        f'  [host."http://{host}".header]\n    Authorization = '
    )
    with Containerd() as containerd:
        containerd.configure("ghcr.io", f'{toml}"{basic("ann", "wrong")}"\n')
        with pytest.raises(CommandError, match="401 Unauthorized: the user or the password is wrong"):
            containerd.pull(IMAGE)
        containerd.configure("ghcr.io", f'{toml}"{basic("ann", "secret")}"\n')
        containerd.pull(IMAGE)


def test_containerd_answers_the_challenge(host: str) -> None:
    toml = f'server = "http://{host}"\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'
    with Containerd(hosts={host: toml}) as containerd:
        containerd.pull(f"{host}/{IMAGE}", user="ann:secret")


def test_podman_logs_in_and_pulls(host: str) -> None:
    with Podman() as podman:
        with pytest.raises(CommandError, match="unauthorized: log in to pull here"):
            podman.pull(f"{host}/{IMAGE}", tls_verify=False)
        with pytest.raises(CommandError, match="invalid username/password"):
            podman.login(host, "ann", "wrong", tls_verify=False)
        podman.login(host, "ann", "secret", tls_verify=False)
        podman.pull(f"{host}/{IMAGE}", tls_verify=False)
        assert podman.run(f"{host}/{IMAGE}") == "hello\n"


def test_podman_uses_its_login_for_a_mirror(host: str) -> None:
    with Podman(registries=mirror(host, "/ghcr.io")) as podman:
        podman.login(host, "ann", "secret", tls_verify=False)
        podman.pull(IMAGE)


def test_skopeo_takes_credentials_as_an_option(host: str) -> None:
    with Skopeo() as skopeo:
        for login, told in (
            ("ann:wrong", "the user or the password is wrong"),
            (None, "log in to pull here"),
        ):
            with pytest.raises(CommandError, match=told):
                skopeo.copy(f"{host}/{IMAGE}", tls_verify=False, login=login)
        pulled = skopeo.copy(f"{host}/{IMAGE}", tls_verify=False, login="ann:secret")
        assert (pulled / "manifest.json").exists()


def test_skopeo_logs_in_and_lists(host: str) -> None:
    with Skopeo() as skopeo:
        skopeo.login(host, "ann", "secret", tls_verify=False)
        assert skopeo.tags(f"{host}/ghcr.io/acme/runnable", tls_verify=False) == ["latest"]
        assert skopeo.inspect(f"{host}/{IMAGE}", tls_verify=False)["Architecture"]
