"""A Docker daemon with real networks, in a sealed network whose registries its containers reach, and stacks on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.commands.install.base_image import write_archive
from tests.kit.clients import Docker
from tests.kit.processes import CommandError, environment, run
from tests.kit.profiles import FIVE
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit.certificates import Authority

PROGRAM = Path(sys.executable).with_name("registry-proxy")
BASE = "python-base:test"
_HOSTS = sorted(
    {host for each in FIVE for host in (each.registry_host, each.token_host, each.storage_host) if host}
)
# RFC 2544: for tests. Loopback would be each container's own.
ADDRESSES = {host: f"198.18.0.{number}" for number, host in enumerate(_HOSTS, 1)}


def open_network(folder: Path, authority: Authority) -> SealedNetwork:
    """A sealed network, in which the registries have addresses that containers can reach."""
    return SealedNetwork(folder, authority, ADDRESSES)


def add_addresses(network: SealedNetwork) -> None:
    """After it was entered."""
    for address in ADDRESSES.values():
        run(network, ["ip", "address", "add", f"{address}/32", "dev", "lo"])


def bridged_docker(network: SealedNetwork) -> Docker:
    """A daemon that makes networks; Docker's proxy processes stand in for iptables. Its images are in memory."""
    docker = Docker(network, settings={"bridge": "", "storage-driver": "overlay2"})
    data = docker.folder / "data"
    data.mkdir()
    # In there the mount ends with the network, and thousands of files need not be removed one by one.
    run(network, ["mount", "-t", "tmpfs", "tmpfs", str(data)])
    return docker


def import_base(docker: Docker, folder: Path, wheels: Path) -> None:
    """Make the image to build on."""
    archive = folder / "base.tar"
    write_archive(archive, wheels)
    docker.docker("import", str(archive), BASE)
    archive.unlink()


class Stack:
    """A folder with a configuration, and what `registry-proxy` makes of it."""

    def __init__(self, docker: Docker, folder: Path, ca: Path) -> None:
        self.docker = docker
        self.folder = folder
        self._ca = ca

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.folder / "registry-proxy.toml").write_text(text)

    def adapt(self, *services: str, **variables: str) -> None:
        """Tell the containers where the simulated registries are, and that they are to be trusted."""
        extra = {
            "extra_hosts": [f"{host}:{address}" for host, address in ADDRESSES.items()],
            "volumes": [f"{self._ca}:/ca.pem:ro"],
            "environment": {"SSL_CERT_FILE": "/ca.pem", **variables},
        }
        document = {"services": dict.fromkeys(services, extra)}
        # JSON is YAML, and Compose reads this file by itself.
        (self.folder / "docker-compose.override.yaml").write_text(json.dumps(document))

    def program(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `registry-proxy` in the folder."""
        done = subprocess.run(
            self.docker.runner.command(["env", f"--chdir={self.folder}", str(PROGRAM), *arguments]),
            env=self._environ(environ),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        if done.returncode != code:
            raise CommandError(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker says of the container of a service."""
        containers = self.names(service)
        assert len(containers) == 1
        found: list[dict[str, Any]] = json.loads(self.docker.docker("inspect", *containers))
        return found[0]

    def names(self, service: str = "") -> list[str]:
        """The containers that run, of a service or of the whole stack."""
        return self._listed("ps", "{{.Names}}", f"com.docker.compose.service={service}" if service else "")

    def volumes(self) -> list[str]:
        """The volumes of the stack."""
        return self._listed("volume ls", "{{.Name}}", f"com.docker.compose.project={self.folder.name}")

    def _listed(self, what: str, form: str, label: str) -> list[str]:
        where = ["--filter", f"label={label}"] if label else []
        return sorted(self.docker.docker(*what.split(), *where, "--format", form).split())

    def _environ(self, extra: dict[str, str]) -> dict[str, str]:
        kept = {
            # Debian's docker; another one may stand before it.
            "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
            "DOCKER_HOST": f"unix://{self.docker.folder}/docker.sock",
            "DOCKER_CONFIG": str(self.docker.folder / "config"),
            "HOME": str(self.folder),
        }
        return environment({**kept, **extra})


def docker_registry_image(docker: Docker, folder: Path) -> Sequence[str]:
    """`registry:2`, made of Debian's docker-registry, with the shell tools that the original has."""
    context = folder / "registry2"
    context.mkdir()
    for program in ("docker-registry", "busybox"):
        (context / program).write_bytes(Path(f"/usr/bin/{program}").read_bytes())
    (context / "config.yml").write_text(_REGISTRY_CONFIG)
    (context / "Dockerfile").write_text(_REGISTRY_DOCKERFILE)
    docker.docker("build", "--network=none", f"--build-arg=BASE={BASE}", "--tag=registry:2", str(context))
    return ["registry:2"]


_REGISTRY_CONFIG = """version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
"""
_REGISTRY_DOCKERFILE = """ARG BASE
FROM ${BASE}
COPY docker-registry /bin/registry
COPY busybox /bin/busybox
COPY config.yml /etc/docker/registry/config.yml
RUN chmod 755 /bin/registry /bin/busybox && ln -s busybox /bin/wget && mkdir -p /var/lib/registry
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/docker/registry/config.yml"]
"""
