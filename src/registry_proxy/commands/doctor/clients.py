"""The clients on a machine, and the mirrors that their files configure."""

from __future__ import annotations

import asyncio
import json
import shutil
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.doctor.findings import Finding, fail, ok, warn
from registry_proxy.commands.doctor.mirrors import (
    HUB,
    MirrorRoute,
    config_path,
    docker_routes,
    hosts_routes,
    registries_routes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DockerInfo = Callable[[], Awaitable[dict[str, Any] | None]]

_APPLY = "Configure it: `registry-proxy client {client} --apply`."
_DOCKER_TIMEOUT = 10.0  # seconds
_PODMAN_PROGRAMS = ("podman", "skopeo", "buildah", "crio")


@dataclass(frozen=True, slots=True)
class Machine:
    """The directories with the files: `root`, and the user's `home`. `programs` is a PATH."""

    root: Path = Path("/")
    home: Path = Path()
    programs: str | None = None

    def has(self, *programs: str) -> bool:
        """Return whether one of the programs is installed."""
        return any(shutil.which(program, path=self.programs) for program in programs)

    def place(self, path: str) -> Path:
        """Return the file at a path: `/…`, or `~/…`."""
        return self.home / path[2:] if path.startswith("~/") else self.root / path.lstrip("/")


class RouteScan:
    """The mirrors to try, and findings about files. `docker_info` returns the state of a running dockerd."""

    def __init__(self, machine: Machine, docker_info: DockerInfo) -> None:
        self.machine = machine
        self._docker_info = docker_info
        self.routes: list[MirrorRoute] = []
        self.findings: list[Finding] = []

    async def run(self) -> None:
        """Read the files of all clients."""
        await self._docker()
        self._containerd()
        self._podman()
        if not self.routes:
            remedy = "Configure one with `registry-proxy client`, or run this on the machine that pulls."
            self.findings.append(fail("clients", "none on this machine has a mirror", remedy))

    async def _docker(self) -> None:
        if not self.machine.has("docker", "dockerd"):
            return
        before = len(self.routes)
        for path in ("/etc/docker/daemon.json", "~/.config/docker/daemon.json"):
            self.routes += self._with_certificates(
                docker_routes(path, self._json(path)), "/etc/docker/certs.d"
            )
        classic = [route for route in self.routes[before:] if route.client == "docker"]
        for directory in ("/etc/docker/certs.d", "~/.config/docker/certs.d"):
            self.routes += self._hosts("docker", directory)
        self._check_mirrors("docker", before)
        info = await self._docker_info()
        if info is not None:
            self.findings += daemon_findings(
                info, classic, has_hosts=len(self.routes) - before > len(classic)
            )

    def _containerd(self) -> None:
        if not self.machine.has("containerd"):
            return
        before = len(self.routes)
        file = "/etc/containerd/config.toml"
        directory = config_path(self._toml(file))
        if directory is not None:
            self.routes += self._hosts("containerd", directory)
        elif any(self.machine.place("/etc/containerd/certs.d").glob("*/hosts.toml")):
            text = f"{file} has no config_path, so the files in /etc/containerd/certs.d are not read by Kubernetes"
            self.findings.append(fail("containerd", text, _APPLY.format(client="containerd")))
            self.routes += self._hosts("containerd", "/etc/containerd/certs.d")
            return
        self._check_mirrors("containerd", before)

    def _podman(self) -> None:
        if not self.machine.has(*_PODMAN_PROGRAMS):
            return
        before = len(self.routes)
        for path in self._registries_files():
            routes = registries_routes(path, self._toml(path))
            self.routes += self._with_certificates(routes, "/etc/containers/certs.d")
        self._check_mirrors("podman", before)

    def _check_mirrors(self, client: str, before: int) -> None:
        if len(self.routes) == before and not any(each.subject == client for each in self.findings):
            text = "no mirror: pulls from the registries directly"
            self.findings.append(warn(client, text, _APPLY.format(client=client)))

    def _registries_files(self) -> Iterator[str]:
        for directory in ("/etc/containers", "~/.config/containers"):
            yield f"{directory}/registries.conf"
            parts = self.machine.place(f"{directory}/registries.conf.d").glob("*.conf")
            yield from (f"{directory}/registries.conf.d/{each.name}" for each in sorted(parts))

    def _hosts(self, client: str, directory: str) -> Iterator[MirrorRoute]:
        for file in sorted(self.machine.place(directory).glob("*/hosts.toml")):
            name = f"{directory}/{file.parent.name}/hosts.toml"
            for route in hosts_routes(client, name, file.parent.name, self._toml(name)):
                yield replace(
                    route,
                    ca_files=tuple(str(file.parent / each) for each in route.ca_files),
                    identity=(str(file.parent / route.identity[0]), str(file.parent / route.identity[1]))
                    if route.identity
                    else None,
                )

    def _with_certificates(self, routes: Iterator[MirrorRoute], directory: str) -> Iterator[MirrorRoute]:
        """Add the certificates that docker and podman find by a mirror's name (containers-certs.d(5))."""
        for route in routes:
            place = self.machine.place(directory) / route.host
            cert, key = place / "client.cert", place / "client.key"
            yield replace(
                route,
                ca_files=tuple(str(each) for each in sorted(place.glob("*.crt"))),
                identity=(str(cert), str(key)) if cert.exists() and key.exists() else None,
                headers=self._login(route) if route.client == "podman" else {},
            )

    def _login(self, route: MirrorRoute) -> dict[str, str]:
        """Return the login of `podman login` for the mirror (containers-auth.json(5))."""
        for path in ("~/.config/containers/auth.json", "~/.docker/config.json"):
            auths = self._json(path).get("auths", {})
            for name in (f"{route.host}/{route.prefix}".rstrip("/"), route.host):
                if isinstance(auths, dict) and isinstance(auths.get(name), dict) and auths[name].get("auth"):
                    return {"Authorization": f"Basic {auths[name]['auth']}"}
        return {}

    def _json(self, path: str) -> dict[str, Any]:
        text = self._text(path)
        try:
            document = json.loads(text) if text.strip() else {}
        except ValueError as error:
            self.findings.append(
                fail(
                    path,
                    f"not JSON: {error}",
                    "Fix the file; the client possibly does not start with it.",
                )
            )
            return {}
        return document if isinstance(document, dict) else {}

    def _toml(self, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text(path))
        except tomllib.TOMLDecodeError as error:
            self.findings.append(
                fail(path, f"not TOML: {error}", "Fix the file; the client can't read it either.")
            )
            return {}

    def _text(self, path: str) -> str:
        try:
            return self.machine.place(path).read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.findings.append(warn(path, f"unreadable: {reason}", "Run this as root, or as its owner."))
            return ""


async def docker_info() -> dict[str, Any] | None:
    """Return the output of `docker info`, None without a running daemon."""
    try:
        async with asyncio.timeout(_DOCKER_TIMEOUT):
            process = await asyncio.create_subprocess_exec(
                "docker",
                "info",
                "--format",
                "{{json .}}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                output, _ = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                raise
        info = json.loads(output) if process.returncode == 0 else None
    except (OSError, TimeoutError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def daemon_findings(
    info: dict[str, Any], configured: list[MirrorRoute], *, has_hosts: bool
) -> Iterator[Finding]:
    """Yield the differences between a running dockerd and its files. `has_hosts`: there are hosts.toml files."""
    registries = info.get("RegistryConfig")
    known = registries.get("Mirrors") if isinstance(registries, dict) else None
    mirrors = {str(url).rstrip("/") for url in known or ()}
    unread = [str(route) for route in configured if str(route) not in mirrors]
    if unread:
        text = f"the running dockerd does not know the mirrors {', '.join(unread)} of daemon.json yet"
        yield fail("docker", text, "systemctl reload docker")
    drivers = info.get("DriverStatus") or []
    if any(str(value).startswith("io.containerd.snapshotter") for _, value in drivers):
        yield ok("docker", "uses the containerd image store: mirrors of all registries are used")
    elif has_hosts:
        text = f"uses the classic image store, which reads no hosts.toml: only {HUB} has a mirror"
        remedy = 'Set {"features": {"containerd-snapshotter": true}} in daemon.json for the others.'
        yield warn("docker", text, remedy)
