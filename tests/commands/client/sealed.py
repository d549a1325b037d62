"""A sealed network with a server, its clients' programs, and `registry-proxy client`, which sets them up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import bcrypt
from tests.kit.clients import Client, Containerd, Docker, Podman
from tests.kit.processes import Daemon, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

PROGRAM = Path(sys.executable).with_name("registry-proxy")
DOMAIN = "registry.example.com"
# Docker checks no certificate of a loopback address.
ADDRESS = "10.20.0.1"
HUB, GHCR = f"dockerhub.{DOMAIN}", f"ghcr.{DOMAIN}"
NAMES = dict.fromkeys((DOMAIN, HUB, GHCR), ADDRESS)

HOSTS = f"""
[upstreams.dockerhub]
hostname = "{HUB}"
[upstreams.ghcr]
hostname = "{GHCR}"
"""
TLS = f"""
[tls]
cert = "server.pem"
key = "server.key"
listen = ["{ADDRESS}:443"]
http = []
"""
# One host name, or address, for all registries; or one each.
PLAIN = f'[server]\nlisten = ["{ADDRESS}:5000"]\n'
ONE_HOST = f'[server]\nlisten = []\n{TLS}hostnames = ["{DOMAIN}"]\n'
HOST_EACH = f"[server]\nlisten = []\n{TLS}{HOSTS}"


class Place:
    """A folder with a configuration, certificates, and the home of the client's user."""

    def __init__(self, folder: Path, network: SealedNetwork) -> None:
        self.folder = folder
        self.network = network
        self.home = folder / "home"
        self.home.mkdir()
        self.config = folder / "registry-proxy.toml"
        self.config.touch(mode=0o600)
        (folder / "password").write_text("it's a secret\n")
        hashed = bcrypt.hashpw(b"it's a secret", bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"me:{hashed}\n")

    def serve(self, toml: str) -> Daemon:
        """The server with this configuration; it answers already."""
        self.config.write_text(f'{toml}\n[storage]\npath = "store"\n')
        command = [str(PROGRAM), "serve", "--config", str(self.config)]
        return Daemon.started(self.network, command, self.folder / "log", self._answers)

    def client(self, *arguments: str, **environ: str) -> str:
        """Run `registry-proxy client`; what it prints."""
        command = [str(PROGRAM), "client", *arguments, "--config", str(self.config)]
        return run(self.network, command, env={"HOME": str(self.home), **environ})

    def modern_docker(self) -> str:
        """A PATH with a Docker that says to be a new one: Debian's reads no hosts.toml."""
        programs = self.folder / "modern"
        programs.mkdir(exist_ok=True)
        info = json.dumps({"ServerVersion": "28.2.2", "DriverStatus": None})
        (programs / "docker").write_text(f"#!/bin/sh\necho '{info}'\n")
        (programs / "docker").chmod(0o755)
        return f"{programs}:{os.environ['PATH']}"

    def inside(self, path: str) -> Path:
        """A file of the sealed network, seen from outside."""
        return self.network.path(path)

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """All that a client's files could be, with bytes and modes."""
        roots = [f"/etc/{name}" for name in ("docker", "containerd", "containers")]
        roots.append("/var/lib/registry-proxy-client")
        return dict(_files([*map(self.inside, roots), self.home]))

    def issue(self, authority: Authority, name: str, *identities: str) -> None:
        """A certificate NAME.pem with its key NAME.key, and the authority.pem to trust it by."""
        (self.folder / "authority.pem").write_bytes(authority.pem)
        issued = authority.ca.issue_cert(*identities)
        chain = b"".join(certificate.bytes() for certificate in issued.cert_chain_pems)
        (self.folder / f"{name}.pem").write_bytes(chain)
        key = self.folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem.bytes())

    def _answers(self) -> bool:
        [port] = re.findall(rf'listen = \["{ADDRESS}:(\d+)"\]', self.config.read_text())
        try:
            self.network.connect((ADDRESS, int(port))).close()
        except OSError:
            return False
        return True


def _files(roots: list[Path]) -> Iterator[tuple[str, tuple[bytes, int]]]:
    for root in roots:
        for path in root.rglob("*"):
            yield str(path), (path.read_bytes() if path.is_file() else b"", path.stat().st_mode)


class SystemContainerd(Containerd):
    """containerd's user who gives `ctr` the folder of the system."""

    hosts = "/etc/containerd/certs.d"

    def pull_by_hosts(self, reference: str) -> None:
        self.ctr("images", "pull", "--hosts-dir", self.hosts, "--snapshotter", "native", reference)


class DockersContainerd(SystemContainerd):
    """What Docker's containerd image store reads, by containerd's own hands: Debian's dockerd is too old for it."""

    hosts = "/etc/docker/certs.d"


class SystemPodman(Podman):
    """podman with the files of the system and of its user's home."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.network)
        self._env = {"HOME": str(place.home), "TMPDIR": str(self.folder)}


class SystemSkopeo(Client):
    """skopeo with the files of the system and of its user's home."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.network)
        self._env = {"HOME": str(place.home), "TMPDIR": str(self.folder)}

    def inspect(self, reference: str) -> bytes:
        """Return the manifest."""
        command = ["skopeo", "--insecure-policy", "inspect", "--raw", f"docker://{reference}"]
        return self._run(command, env=self._env).encode()


class SystemDocker(Docker):
    """dockerd with /etc/docker/daemon.json, in which its owner's settings are already."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.network)
        self._home = place.home
        del self._settings["registry-mirrors"], self._settings["insecure-registries"]
        self.settings = place.inside("/etc/docker/daemon.json")
        self.settings.parent.mkdir(exist_ok=True)
        self.settings.write_text(json.dumps(self._settings, indent=4))

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._containerd)
            self._daemon = Daemon(self.runner, ["dockerd"], self.folder / "dockerd.log")
            stack.callback(self._daemon.stop)
            self._daemon.wait_until((self.folder / "docker.sock").exists)
            self.docker("version")
            self._stack = stack.pop_all()
        return self

    def docker(self, *arguments: str, text: str | None = None) -> str:
        where = [f"--host=unix://{self.folder}/docker.sock", f"--config={self._home / '.docker'}"]
        return run(self.runner, ["/usr/bin/docker", *where, *arguments], text=text)
