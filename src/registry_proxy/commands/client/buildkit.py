"""BuildKit: buildkitd.toml, and the login of who builds. Pure.

https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.docker import login_files
from registry_proxy.commands.client.documents import first, parse_toml, table
from registry_proxy.commands.client.hosts_toml import certificate_files
from registry_proxy.commands.client.plan import ClientFile, Plan

if TYPE_CHECKING:
    from registry_proxy.commands.client.documents import Table
    from registry_proxy.commands.client.plan import Present, View

_BUILDX = (
    "A builder of docker buildx takes the file when it is made: "
    "docker buildx create --use --driver docker-container --buildkitd-config %s"
)
_LOGIN = "BuildKit logs in as the user who runs the build: each needs the entry in .docker/config.json."


def plan(view: View, present: Present) -> Plan:
    """The registries with their mirrors, and each of the cache's hosts with how it is reached."""
    folder = f"{view.home}/.config/buildkit" if view.user else "/etc/buildkit"
    path = f"{folder}/buildkitd.toml"
    document = parse_toml(path, present.get(path))
    for mirror in view.server.mirrors:
        entry = table(path, document, "registry", mirror.registry)
        entry["mirrors"] = first(mirror.location, entry.get("mirrors"))
        _add_host(view, table(path, document, "registry"), mirror.host, folder, http=mirror.insecure)
    restart = "systemctl --user restart buildkit" if view.user else "systemctl restart buildkit"
    files = [ClientFile(path, tomlkit.dumps(document), restart=restart)]
    files += [*certificate_files(view, f"{folder}/certs.d"), *login_files(view, present)]
    notes = (_BUILDX % path, _LOGIN) if view.login else (_BUILDX % path,)
    return Plan(tuple(files), notes)


def _add_host(view: View, registries: Table, host: str, folder: str, *, http: bool) -> None:
    settings: dict[str, object] = {}
    certificates = f"{folder}/certs.d/{host}"
    if http:
        settings["http"] = True
    if view.ca:
        settings["ca"] = [f"{certificates}/ca.crt"]
    if view.identity:
        settings["keypair"] = [{"key": f"{certificates}/client.key", "cert": f"{certificates}/client.cert"}]
    if settings:
        registries[host] = {**registries.get(host, {}), **settings}
