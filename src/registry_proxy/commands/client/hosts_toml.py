"""hosts.toml, the mirrors of one registry as containerd and Docker's containerd image store read them. Pure.

https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.documents import parse_toml
from registry_proxy.commands.client.plan import PUBLIC, SECRET, ClientFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tomlkit.items import Table

    from registry_proxy.commands.client.plan import Present, View
    from registry_proxy.commands.client.server import Mirror

# The folder that stands for every registry without one of its own.
EVERYTHING = "_default"


def hosts_files(view: View, present: Present, folder: str) -> Iterator[ClientFile]:
    """A hosts.toml for each registry, or one for all, and the certificates that they name."""
    if view.everything:
        yield _hosts_file(view, present, folder, f"{folder}/{EVERYTHING}/hosts.toml", view.shared)
    else:
        for mirror in view.server.mirrors:
            path = f"{folder}/{mirror.registry}/hosts.toml"
            yield _hosts_file(view, present, folder, path, mirror.origin, mirror)
    yield from certificate_files(view, folder)


def certificate_files(view: View, folder: str) -> Iterator[ClientFile]:
    """`HOST/ca.crt`, `client.cert` and `client.key`: the names by which Docker, podman and containerd find them."""
    for host in view.hosts:
        if view.ca:
            yield ClientFile(f"{folder}/{host}/ca.crt", view.ca)
        if view.identity:
            yield ClientFile(f"{folder}/{host}/client.cert", view.identity.certificate)
            yield ClientFile(f"{folder}/{host}/client.key", view.identity.key, SECRET)


def _hosts_file(
    view: View, present: Present, folder: str, path: str, origin: str, mirror: Mirror | None = None
) -> ClientFile:
    document = parse_toml(path, present.get(path))
    if mirror is not None and "server" not in document:
        document["server"] = mirror.url
    others = document.pop("host", {})
    hosts = tomlkit.table(is_super_table=True)
    hosts[origin] = _host(view, f"{folder}/{origin.partition('://')[2]}")
    # In this order they are tried.
    for name, other in others.items():
        if name != origin:
            hosts[name] = other
    document["host"] = hosts
    return ClientFile(path, tomlkit.dumps(document), SECRET if view.login else PUBLIC)


def _host(view: View, certificates: str) -> Table:
    host = tomlkit.table()
    host["capabilities"] = ["pull", "resolve"]
    if view.ca:
        host["ca"] = f"{certificates}/ca.crt"
    if view.identity:
        host["client"] = [[f"{certificates}/client.cert", f"{certificates}/client.key"]]
    if view.login:
        host["header"] = {"Authorization": f"Basic {view.login.basic}"}
    return host
