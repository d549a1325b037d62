"""Docker: registry-mirrors for its classic image store, hosts.toml for its containerd image store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.planner import SECRET, ClientFile, ClientPlan
from registry_proxy.commands.client.settings_files import dump_json, first, parse_json, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles

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
        settings = parse_json(path, existing.get(path))
        settings["registry-mirrors"] = first(hub.origin, settings.get("registry-mirrors"))
        restart = _RELOAD.replace("systemctl", "systemctl --user") if inputs.user else _RELOAD
        files.append(ClientFile(path, dump_json(settings), restart=restart))
    return ClientPlan(tuple(files), tuple(notes))


def login_files(inputs: ClientInputs, existing: ExistingFiles) -> Iterator[ClientFile]:
    """Yield the user's logins as `docker login` stores them: for pulls by the cache's host name, and for builds."""
    if inputs.login is None:
        return
    path = f"{inputs.home}/.docker/config.json"
    settings = parse_json(path, existing.get(path))
    for host in inputs.hosts:
        table(path, settings, "auths")[host] = {"auth": inputs.login.basic}
    yield ClientFile(path, dump_json(settings), SECRET)
