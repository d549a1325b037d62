"""Docker: registry-mirrors for its classic image store, hosts.toml for its containerd image store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.planner import SECRET, ClientFile, ClientPlan
from registry_proxy.commands.client.settings_files import edit_json_file, put_first, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles, Login

HUB = "docker.io"
# A reload of the mirrors does not stop any container.
_RELOAD = "systemctl reload docker"
_CLASSIC = (
    "Docker's classic image store (before Docker 29) pulls only images of Docker Hub through the cache; "
    "the containerd image store pulls all images through it. It is the default of new installations since Docker 29. "
    'Enable it elsewhere with {"features": {"containerd-snapshotter": true}} in daemon.json.'
)
_NO_LOGIN = (
    "Docker's classic image store can't log in to a mirror, so daemon.json has none. Use the containerd image "
    "store or a client certificate, or pull by the host name of the cache, such as %s/library/alpine."
)


def plan(inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
    """Return daemon.json and certs.d; with a login also the user's config.json."""
    directory = f"{inputs.home}/.config/docker" if inputs.user else "/etc/docker"
    hub = inputs.server.mirror(HUB)
    files = [*hosts_files(inputs, existing, f"{directory}/certs.d"), *login_files(inputs, existing)]
    notes = [_CLASSIC]
    if hub is not None and inputs.login and not inputs.identity:
        notes.append(_NO_LOGIN % hub.location)
    elif hub is not None:
        path = f"{directory}/daemon.json"
        restart = _RELOAD.replace("systemctl", "systemctl --user") if inputs.user else _RELOAD
        with edit_json_file(path, existing.get(path)) as file:
            put_first(file.settings, "registry-mirrors", hub.origin)
        files.append(ClientFile(path, file.text, restart=restart))
    return ClientPlan(tuple(files), tuple(notes))


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
