"""Docker: registry-mirrors for its classic image store, hosts.toml for its containerd image store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.client.documents import dump_json, first, parse_json, table
from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.plan import SECRET, ClientFile, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.client.plan import Present, View

HUB = "docker.io"
# dockerd reads its mirrors anew without ending any container.
_RELOAD = "systemctl reload docker"
_CLASSIC = (
    "Docker's classic image store (before Docker 29) sends only Docker Hub's images through the cache; "
    "the containerd image store sends all. Fresh installations since Docker 29 have it; others take "
    '{"features": {"containerd-snapshotter": true}} in daemon.json.'
)
_NO_LOGIN = (
    "Docker's classic image store can't log in to a mirror, so daemon.json names none: use the containerd image "
    "store or a client certificate, or pull by the cache's own name, such as %s/library/alpine."
)


def plan(view: View, present: Present) -> Plan:
    """daemon.json, and certs.d beside it; with a login also the user's config.json."""
    folder = f"{view.home}/.config/docker" if view.user else "/etc/docker"
    hub = view.server.mirror(HUB)
    files = [*hosts_files(view, present, f"{folder}/certs.d"), *login_files(view, present)]
    notes = [_CLASSIC]
    if hub is not None and view.login and not view.identity:
        notes.append(_NO_LOGIN % hub.location)
    elif hub is not None:
        path = f"{folder}/daemon.json"
        settings = parse_json(path, present.get(path))
        settings["registry-mirrors"] = first(hub.origin, settings.get("registry-mirrors"))
        restart = _RELOAD.replace("systemctl", "systemctl --user") if view.user else _RELOAD
        files.append(ClientFile(path, dump_json(settings), restart=restart))
    return Plan(tuple(files), tuple(notes))


def login_files(view: View, present: Present) -> Iterator[ClientFile]:
    """The user's logins, as `docker login` keeps them: for pulls by the cache's own name, and for builds."""
    if view.login is None:
        return
    path = f"{view.home}/.docker/config.json"
    settings = parse_json(path, present.get(path))
    for host in view.hosts:
        table(path, settings, "auths")[host] = {"auth": view.login.basic}
    yield ClientFile(path, dump_json(settings), SECRET)
