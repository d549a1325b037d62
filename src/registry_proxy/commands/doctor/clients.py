"""The clients on a machine, their files, and the ways that these make them go."""

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
    docker_ways,
    hosts_ways,
    registries_ways,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DockerInfo = Callable[[], Awaitable[dict[str, Any] | None]]

_APPLY = "Let it: `registry-proxy client {client} --apply`."
_DOCKER_PATIENCE = 10.0  # seconds
_PODMEN = ("podman", "skopeo", "buildah", "crio")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where files are looked for: below `root`, and below `home`, the user's folder. `programs` is a PATH."""

    root: Path = Path("/")
    home: Path = Path()
    programs: str | None = None

    def has(self, *programs: str) -> bool:
        """Whether one of the programs is installed."""
        return any(shutil.which(program, path=self.programs) for program in programs)

    def place(self, path: str) -> Path:
        """A path of this machine: `/…`, or `~/…`."""
        return self.home / path[2:] if path.startswith("~/") else self.root / path.lstrip("/")


class RouteSurvey:
    """What was found: ways to try, and findings. `docker_info` asks the running dockerd, if there is one."""

    def __init__(self, machine: Machine, docker_info: DockerInfo) -> None:
        self.machine = machine
        self._docker_info = docker_info
        self.mirror_routes: list[MirrorRoute] = []
        self.findings: list[Finding] = []

    async def look(self) -> None:
        """Look for all clients."""
        await self._docker()
        self._containerd()
        self._podman()
        if not self.mirror_routes:
            remedy = "Set one up by `registry-proxy client`, or run this on the machine that pulls."
            self.findings.append(fail("clients", "none on this machine has a mirror", remedy))

    async def _docker(self) -> None:
        if not self.machine.has("docker", "dockerd"):
            return
        before = len(self.mirror_routes)
        for path in ("/etc/docker/daemon.json", "~/.config/docker/daemon.json"):
            self.mirror_routes += self._with_certificates(
                docker_ways(path, self._json(path)), "/etc/docker/certs.d"
            )
        classic = [way for way in self.mirror_routes[before:] if way.client == "docker"]
        for folder in ("/etc/docker/certs.d", "~/.config/docker/certs.d"):
            self.mirror_routes += self._hosts("docker", folder)
        self._told("docker", before)
        info = await self._docker_info()
        if info is not None:
            self.findings += daemon_findings(
                info, classic, has_hosts=len(self.mirror_routes) - before > len(classic)
            )

    def _containerd(self) -> None:
        if not self.machine.has("containerd"):
            return
        before = len(self.mirror_routes)
        file = "/etc/containerd/config.toml"
        folder = config_path(self._toml(file))
        if folder is not None:
            self.mirror_routes += self._hosts("containerd", folder)
        elif any(self.machine.place("/etc/containerd/certs.d").glob("*/hosts.toml")):
            text = f"{file} has no config_path, so the files in /etc/containerd/certs.d are not read by Kubernetes"
            self.findings.append(fail("containerd", text, _APPLY.format(client="containerd")))
            self.mirror_routes += self._hosts("containerd", "/etc/containerd/certs.d")
            return
        self._told("containerd", before)

    def _podman(self) -> None:
        if not self.machine.has(*_PODMEN):
            return
        before = len(self.mirror_routes)
        for path in self._registries_files():
            mirror_routes = registries_ways(path, self._toml(path))
            self.mirror_routes += self._with_certificates(mirror_routes, "/etc/containers/certs.d")
        self._told("podman", before)

    def _told(self, client: str, before: int) -> None:
        if len(self.mirror_routes) == before and not any(each.subject == client for each in self.findings):
            text = "it has no mirror, so it goes to the registries itself"
            self.findings.append(warn(client, text, _APPLY.format(client=client)))

    def _registries_files(self) -> Iterator[str]:
        for folder in ("/etc/containers", "~/.config/containers"):
            yield f"{folder}/registries.conf"
            parts = self.machine.place(f"{folder}/registries.conf.d").glob("*.conf")
            yield from (f"{folder}/registries.conf.d/{each.name}" for each in sorted(parts))

    def _hosts(self, client: str, folder: str) -> Iterator[MirrorRoute]:
        for file in sorted(self.machine.place(folder).glob("*/hosts.toml")):
            name = f"{folder}/{file.parent.name}/hosts.toml"
            for way in hosts_ways(client, name, file.parent.name, self._toml(name)):
                yield replace(
                    way,
                    authorities=tuple(str(file.parent / each) for each in way.authorities),
                    identity=(str(file.parent / way.identity[0]), str(file.parent / way.identity[1]))
                    if way.identity
                    else None,
                )

    def _with_certificates(self, mirror_routes: Iterator[MirrorRoute], folder: str) -> Iterator[MirrorRoute]:
        """With what docker and podman find by a mirror's name (containers-certs.d(5))."""
        for way in mirror_routes:
            place = self.machine.place(folder) / way.host
            cert, key = place / "client.cert", place / "client.key"
            yield replace(
                way,
                authorities=tuple(str(each) for each in sorted(place.glob("*.crt"))),
                identity=(str(cert), str(key)) if cert.exists() and key.exists() else None,
                headers=self._login(way) if way.client == "podman" else {},
            )

    def _login(self, way: MirrorRoute) -> dict[str, str]:
        """What podman login keeps for the mirror (containers-auth.json(5))."""
        for path in ("~/.config/containers/auth.json", "~/.docker/config.json"):
            auths = self._json(path).get("auths", {})
            for name in (f"{way.host}/{way.prefix}".rstrip("/"), way.host):
                if isinstance(auths, dict) and isinstance(auths.get(name), dict) and auths[name].get("auth"):
                    return {"Authorization": f"Basic {auths[name]['auth']}"}
        return {}

    def _json(self, path: str) -> dict[str, Any]:
        text = self._text(path)
        try:
            document = json.loads(text) if text.strip() else {}
        except ValueError as error:
            self.findings.append(
                fail(path, f"it is no JSON: {error}", "Mend it; the client may not start with it.")
            )
            return {}
        return document if isinstance(document, dict) else {}

    def _toml(self, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text(path))
        except tomllib.TOMLDecodeError as error:
            self.findings.append(
                fail(path, f"it is no TOML: {error}", "Mend it; the client can't read it either.")
            )
            return {}

    def _text(self, path: str) -> str:
        try:
            return self.machine.place(path).read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.findings.append(
                warn(path, f"it can't be read: {reason}", "Run this as root, or as its owner.")
            )
            return ""


async def docker_info() -> dict[str, Any] | None:
    """What a running daemon says of itself; None without one."""
    try:
        async with asyncio.timeout(_DOCKER_PATIENCE):
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
    """What a running dockerd has made of its files. `has_hosts`: there are hosts.toml files."""
    registries = info.get("RegistryConfig")
    told = registries.get("Mirrors") if isinstance(registries, dict) else None
    mirrors = {str(url).rstrip("/") for url in told or ()}
    unread = [str(way) for way in configured if str(way) not in mirrors]
    if unread:
        text = f"the running dockerd does not know the mirrors {', '.join(unread)} of daemon.json yet"
        yield fail("docker", text, "systemctl reload docker")
    drivers = info.get("DriverStatus") or []
    if any(str(value).startswith("io.containerd.snapshotter") for _, value in drivers):
        yield ok("docker", "it has the containerd image store: mirrors of all registries are used")
    elif has_hosts:
        text = f"it has the classic image store, which reads no hosts.toml: only {HUB} goes by a mirror"
        remedy = 'Set {"features": {"containerd-snapshotter": true}} in daemon.json for the others.'
        yield warn("docker", text, remedy)
