"""Docker: registry-mirrors for its classic image store, hosts.toml for its containerd image store. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.client.hosts_toml import certificate_files, hosts_files
from registry_proxy.commands.client.planner import SECRET, ClientFile, ClientPlan
from registry_proxy.commands.client.settings_files import edit_json_file, put_first, table
from registry_proxy.commands.client.versions import (
    DOCKER_HOSTS,
    Version,
    has_containerd_store,
    parse_version,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles, Login

HUB = "docker.io"
# A daemon that does not respond must not stop the command.
INFO = "timeout 10 docker info --format '{{json .}}'"
VERSION = "dockerd --version"
# A reload of the mirrors does not stop any container.
_RELOAD = "systemctl reload docker"
_CLASSIC = (
    "Docker's classic image store (before Docker 29) pulls only images of Docker Hub through the cache; "
    "the containerd image store pulls all images through it. It is the default of new installations since Docker 29. "
    'Enable it elsewhere with {"features": {"containerd-snapshotter": true}} in daemon.json.'
)
_OLD = (
    f"Docker before version {DOCKER_HOSTS[0]} reads no hosts.toml: only images of Docker Hub are pulled through "
    "the cache."
)
_NO_LOGIN = (
    "Docker's classic image store can't log in to a mirror, so daemon.json has none. Use the containerd image "
    "store or a client certificate, or pull by the host name of the cache, such as %s/library/alpine."
)


def plan(inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
    """Return daemon.json and certs.d; with a login also the user's config.json."""
    directory = f"{inputs.home}/.config/docker" if inputs.user else "/etc/docker"
    docker, certs = _Docker.installed(existing), f"{directory}/certs.d"
    files = [*login_files(inputs, existing)]
    files += hosts_files(inputs, existing, certs) if docker.reads_hosts else certificate_files(inputs, certs)
    hub = inputs.server.mirror(HUB)
    if not docker.reads_mirrors:
        return ClientPlan(tuple(files))
    notes = [_CLASSIC if docker.reads_hosts else _OLD]
    if hub is not None and inputs.login and not inputs.identity:
        notes.append(_NO_LOGIN % hub.location)
    elif hub is not None:
        files.append(_daemon_json(inputs, existing, f"{directory}/daemon.json", hub.origin))
    return ClientPlan(tuple(files), tuple(notes))


def _daemon_json(inputs: ClientInputs, existing: ExistingFiles, path: str, mirror: str) -> ClientFile:
    restart = _RELOAD.replace("systemctl", "systemctl --user") if inputs.user else _RELOAD
    with edit_json_file(path, existing.get(path)) as file:
        put_first(file.settings, "registry-mirrors", mirror)
    return ClientFile(path, file.text, restart=restart)


@dataclass(frozen=True, slots=True)
class _Docker:
    """The installed Docker. `has_store`: it has the containerd image store. None is unknown."""

    version: Version | None
    has_store: bool | None

    @classmethod
    def installed(cls, existing: ExistingFiles) -> _Docker:
        try:
            info: Any = json.loads(existing.output(INFO) or "{}")
        except ValueError:
            info = {}
        if isinstance(info, dict) and info.get("ServerVersion"):
            return cls(parse_version(str(info["ServerVersion"])), has_containerd_store(info))
        return cls(parse_version(existing.output(VERSION)), None)

    @property
    def reads_hosts(self) -> bool:
        """False if it reads no hosts.toml. With the classic image store, builds read it."""
        return self.version is None or self.version >= DOCKER_HOSTS

    @property
    def reads_mirrors(self) -> bool:
        """False if hosts.toml takes precedence over the mirrors in daemon.json (moby, daemon/hosts.go)."""
        return not (self.version is not None and self.reads_hosts and self.has_store)


def login_files(inputs: ClientInputs, existing: ExistingFiles) -> Iterator[ClientFile]:
    """Yield the user's logins as `docker login` stores them: for pulls by the cache's host name, and for builds."""
    if inputs.login is None:
        return
    path = f"{inputs.home}/.docker/config.json"
    yield login_file(inputs.hosts, inputs.login, path, existing)


def login_file(hosts: Iterable[str], login: Login, path: str, existing: ExistingFiles) -> ClientFile:
    """Return a file of logins, in the format of Docker, with those for the hosts of the cache."""
    with edit_json_file(path, existing.get(path)) as file:
        for host in hosts:
            table(path, file.settings, "auths")[host] = {"auth": login.basic}
    return ClientFile(path, file.text, SECRET)
