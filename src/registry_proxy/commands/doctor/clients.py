"""The clients on a machine, and the mirrors that their files configure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from registry_proxy.commands.client.versions import (
    CONTAINERD_DEFAULTS,
    CONTAINERD_ONE_DIRECTORY,
    CRI_PLUGINS,
    DEFAULT_PATH,
    DOCKER_HOSTS,
    has_containerd_store,
    pulls_locally,
)
from registry_proxy.commands.doctor.findings import fail, ok, warn
from registry_proxy.commands.doctor.machine_files import ClientFiles
from registry_proxy.commands.doctor.mirrors import (
    EVERYTHING,
    HUB,
    MirrorRoute,
    docker_routes,
    hosts_routes,
    image_settings,
    registries_routes,
    registry_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from registry_proxy.commands.doctor.daemons import Containerd, Daemons, Docker
    from registry_proxy.commands.doctor.findings import Finding
    from registry_proxy.commands.doctor.machine_files import Machine

_APPLY = "Configure it: `registry-proxy client {client} --apply`."
_PODMAN_PROGRAMS = ("podman", "skopeo", "buildah", "crio")
_CONFIG, _CERTS = "/etc/containerd/config.toml", "/etc/containerd/certs.d"
_UNKNOWN = "dockerd does not respond to this user, so it is unknown whether it reads this file"


class RouteScan:
    """The mirrors to try, and findings about files and daemons."""

    def __init__(self, machine: Machine, daemons: Daemons) -> None:
        self._machine = machine
        self._daemons = daemons
        self._files = ClientFiles(machine)
        self.routes: list[MirrorRoute] = []
        self.findings = self._files.findings

    async def run(self) -> None:
        """Read the files of all clients."""
        await self._docker()
        await self._containerd()
        self._podman()
        if not self.routes and not self._files.hidden:
            remedy = "Configure one with `registry-proxy client`, or run this on the machine that pulls."
            self.findings.append(fail("clients", "none on this machine has a mirror", remedy))

    async def _docker(self) -> None:
        if not self._machine.has("docker", "dockerd"):
            return
        before, hidden = len(self.routes), self._files.hidden
        for path in ("/etc/docker/daemon.json", "~/.config/docker/daemon.json"):
            routes = docker_routes(path, self._files.json(path))
            self.routes += self._with_certificates(routes, "/etc/docker/certs.d")
        docker = await self._daemons.docker()
        self.findings += unread_mirrors(docker, self.routes[before:])
        hosts = [
            route
            for directory in ("/etc/docker/certs.d", "~/.config/docker/certs.d")
            for route in self._hosts("docker", [directory])
        ]
        self.findings += store_findings(docker, has_hosts=bool(hosts))
        reads = reads_hosts(docker)
        if reads is not False:
            self.routes += [replace(route, doubt="" if reads else _UNKNOWN) for route in hosts]
        self._check_mirrors("docker", before, hidden)

    async def _containerd(self) -> None:
        if not self._machine.has("containerd"):
            return
        before, hidden = len(self.routes), self._files.hidden
        state = await self._daemons.containerd()
        config = state.config if state.config is not None else self._files.toml(_CONFIG)
        if set(CRI_PLUGINS.values()) & set(config.get("disabled_plugins", [])):
            # Without the CRI plugin, nerdctl is the client that reads this directory.
            self.routes += self._hosts("containerd", [_CERTS])
            return
        images = image_settings(config)
        default = DEFAULT_PATH if (state.version or (0, 0)) >= CONTAINERD_DEFAULTS else ""
        directories = [each for each in str(images.path or default).split(":") if each]
        found = list(self._hosts("containerd", directories or [_CERTS]))
        problem = _path_problem(state, directories, local=pulls_locally(images.settings))
        if not found:
            self._check_mirrors("containerd", before, hidden)
        elif problem:
            self.findings.append(fail("containerd", problem, _APPLY.format(client="containerd")))
        else:
            self.routes += found

    def _podman(self) -> None:
        if not self._machine.has(*_PODMAN_PROGRAMS):
            return
        before, hidden = len(self.routes), self._files.hidden
        for path in self._registries_files():
            routes = registries_routes(path, self._files.toml(path))
            self.routes += self._with_certificates(routes, "/etc/containers/certs.d")
        self._check_mirrors("podman", before, hidden)

    def _check_mirrors(self, client: str, before: int, hidden: int) -> None:
        """Report a client without a mirror, unless its files are hidden from this user."""
        known = any(each.subject == client for each in self.findings)
        if len(self.routes) == before and self._files.hidden == hidden and not known:
            text = "no mirror: pulls from the registries directly"
            self.findings.append(warn(client, text, _APPLY.format(client=client)))

    def _registries_files(self) -> Iterator[str]:
        for directory in ("/etc/containers", "~/.config/containers"):
            yield f"{directory}/registries.conf"
            yield from self._files.names(f"{directory}/registries.conf.d", "*.conf")

    def _hosts(self, client: str, directories: Sequence[str]) -> Iterator[MirrorRoute]:
        """Yield the hosts of the file that the client selects for each registry (containerd, `hostPaths`)."""
        seen: set[str] = set()
        for directory in directories:
            names = [PurePosixPath(path).parent.name for path in self._files.names(directory, "*/hosts.toml")]
            # The name with `_PORT_` takes precedence over the one with `:PORT`.
            for name in sorted(names, key=lambda each: ":" in each):
                registry = registry_of(name)
                if registry not in seen:
                    seen.add(registry)
                    yield from self._hosts_of(client, f"{directory}/{name}/hosts.toml", registry)
            if EVERYTHING in names:
                return

    def _hosts_of(self, client: str, path: str, registry: str) -> Iterator[MirrorRoute]:
        place = self._machine.place(path).parent
        for route in hosts_routes(client, path, registry, self._files.toml(path)):
            pair = route.identity
            yield replace(
                route,
                ca_files=tuple(str(place / each) for each in route.ca_files),
                identity=(str(place / pair[0]), str(place / pair[1])) if pair else None,
            )

    def _with_certificates(self, routes: Iterable[MirrorRoute], directory: str) -> Iterator[MirrorRoute]:
        """Add the certificates that docker and podman find by a mirror's name (containers-certs.d(5))."""
        for route in routes:
            place = f"{directory}/{route.host}"
            certificates = self._files.names(place, "*.crt")
            yield replace(
                route,
                ca_files=tuple(str(self._machine.place(each)) for each in certificates),
                identity=self._files.pair(place),
                headers=self._login(route) if route.client == "podman" else {},
            )

    def _login(self, route: MirrorRoute) -> dict[str, str]:
        """Return the login of `podman login` for the mirror (containers-auth.json(5))."""
        for path in ("~/.config/containers/auth.json", "~/.docker/config.json"):
            auths = self._files.json(path).get("auths", {})
            for name in (f"{route.host}/{route.prefix}".rstrip("/"), route.host):
                if isinstance(auths, dict) and isinstance(auths.get(name), dict) and auths[name].get("auth"):
                    return {"Authorization": f"Basic {auths[name]['auth']}"}
        return {}


def reads_hosts(docker: Docker) -> bool | None:
    """Return whether pulls of Docker read hosts.toml, None if it is unknown."""
    if docker.version is not None and docker.version < DOCKER_HOSTS:
        return False
    return has_containerd_store(docker.info) if docker.info else None


def unread_mirrors(docker: Docker, configured: Iterable[MirrorRoute]) -> Iterator[Finding]:
    """Yield a finding if the running dockerd does not know the mirrors of its daemon.json."""
    if not docker.info:
        return
    registries = docker.info.get("RegistryConfig")
    known = registries.get("Mirrors") if isinstance(registries, dict) else None
    mirrors = {str(url).rstrip("/") for url in known or ()}
    unread = [str(route) for route in configured if str(route) not in mirrors]
    if unread:
        text = f"the running dockerd does not know the mirrors {', '.join(unread)} of daemon.json yet"
        yield fail("docker", text, "systemctl reload docker")


def store_findings(docker: Docker, *, has_hosts: bool) -> Iterator[Finding]:
    """Yield what the image store of Docker means for its mirrors. `has_hosts`: there are hosts.toml files."""
    reads = reads_hosts(docker)
    if reads:
        yield ok("docker", "uses the containerd image store: mirrors of all registries are used")
    elif reads is False and has_hosts:
        old = docker.version is not None and docker.version < DOCKER_HOSTS
        cause = (
            f"is version {docker.version[0]}" if old and docker.version else "uses the classic image store"
        )
        text = f"{cause}, which reads no hosts.toml: only {HUB} has a mirror"
        remedy = 'Set {"features": {"containerd-snapshotter": true}} in daemon.json for the others'
        yield warn(
            "docker", text, f"{remedy}, with Docker {DOCKER_HOSTS[0]} or later." if old else f"{remedy}."
        )


def _path_problem(state: Containerd, directories: Sequence[str], *, local: bool) -> str:
    if not directories:
        return f"{_CONFIG} has no config_path, so the files in {_CERTS} are not read by Kubernetes"
    if len(directories) > 1 and not local and (state.version or (0, 0)) >= CONTAINERD_ONE_DIRECTORY:
        return (
            f"config_path lists {len(directories)} directories, which containerd {state.version_text} takes for the "
            "name of one: Kubernetes reads no hosts.toml"
        )
    return ""
