"""containerd, as Kubernetes, nerdctl and ctr use it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.documents import parse_toml, table
from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.plan import ClientFile, Plan
from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from registry_proxy.commands.client.documents import Table
    from registry_proxy.commands.client.plan import Present, View

CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
_RESTART = "systemctl restart containerd"
# By the version of config.toml, which is not that of containerd: 2.x reads version 2 too.
_PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_CRI = {"cri", *_PLUGINS.values()}
_CTR = "ctr takes the folder as an option: ctr images pull --hosts-dir %s IMAGE"
_CRI_OFF = f"{CONFIG} turns the CRI plugin off, so it stays as it is."


def plan(view: View, present: Present) -> Plan:
    """`config_path` in config.toml, where it is missing, and hosts.toml files in the folder that it names."""
    text = present.get(CONFIG)
    document = parse_toml(CONFIG, text)
    if not document:
        document["version"] = 2
    disabled = document.get("disabled_plugins", [])
    if _CRI & set(disabled):
        return Plan(tuple(hosts_files(view, present, CERTS)), (_CRI_OFF, _CTR % CERTS))
    registry = _registry(document)
    folder = str(registry.get("config_path") or "").split(":")[0]
    files = list(hosts_files(view, present, folder or CERTS))
    if not folder:
        registry["config_path"] = CERTS
        files.append(ClientFile(CONFIG, tomlkit.dumps(document), restart=_RESTART))
    return Plan(tuple(files), (_CTR % (folder or CERTS),))


def _registry(document: Table) -> Table:
    version = document.get("version", 1)
    plugin = _PLUGINS.get(version)
    if plugin is None:
        raise ClientError(f"{CONFIG}: version {version} isn't known. Set config_path there by hand.")
    registry = table(CONFIG, document, "plugins", plugin, "registry")
    old = "mirrors" if registry.get("mirrors") else "configs" if _has_tls(registry.get("configs")) else None
    if old:
        raise ClientError(
            f"{CONFIG} has plugins.{plugin}.registry.{old}, with which containerd refuses config_path. "
            "Move that to hosts.toml files first (containerd's docs/hosts.md); nothing was changed."
        )
    return registry


def _has_tls(configs: object) -> bool:
    return isinstance(configs, dict) and any("tls" in config for config in configs.values())
