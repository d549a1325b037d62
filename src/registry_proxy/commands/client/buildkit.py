"""BuildKit: buildkitd.toml, and the login of the user who builds. Pure.

https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.docker import login_files
from registry_proxy.commands.client.hosts_toml import certificate_files
from registry_proxy.commands.client.planner import ClientFile, ClientPlan
from registry_proxy.commands.client.settings_files import parse_toml, put, put_first, table

if TYPE_CHECKING:
    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles

_BUILDX = (
    "Pass the file when you create a builder of docker buildx: "
    "docker buildx create --use --driver docker-container --buildkitd-config %s"
)
_LOGIN = "BuildKit logs in with the credentials of the user who runs the build, from .docker/config.json."


def plan(inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
    """Return buildkitd.toml with a mirror for each registry, and the TLS settings of each host of the cache."""
    directory = f"{inputs.home}/.config/buildkit" if inputs.user else "/etc/buildkit"
    path = f"{directory}/buildkitd.toml"
    document = parse_toml(path, existing.get(path))
    for mirror in inputs.server.mirrors:
        entry = table(path, document, "registry", mirror.registry)
        put_first(entry, "mirrors", mirror.location)
        if settings := _host_settings(inputs, f"{directory}/certs.d/{mirror.host}", http=mirror.insecure):
            put(table(path, document, "registry", mirror.host), settings)
    restart = "systemctl --user restart buildkit" if inputs.user else "systemctl restart buildkit"
    files = [ClientFile(path, tomlkit.dumps(document), restart=restart)]
    files += [*certificate_files(inputs, f"{directory}/certs.d"), *login_files(inputs, existing)]
    notes = (_BUILDX % path, _LOGIN) if inputs.login else (_BUILDX % path,)
    return ClientPlan(tuple(files), notes)


def _host_settings(inputs: ClientInputs, certificates: str, *, http: bool) -> dict[str, object]:
    settings: dict[str, object] = {}
    if http:
        settings["http"] = True
    if inputs.ca:
        settings["ca"] = [f"{certificates}/ca.crt"]
    if inputs.identity:
        settings["keypair"] = [{"key": f"{certificates}/client.key", "cert": f"{certificates}/client.cert"}]
    return settings
