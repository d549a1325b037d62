"""containerd, for Kubernetes, nerdctl and ctr. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.planner import ClientFile, ClientPlan
from registry_proxy.commands.client.settings_files import parse_toml, table

if TYPE_CHECKING:
    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles
    from registry_proxy.commands.client.settings_files import Table

CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
_RESTART = "systemctl restart containerd"
# By the version of config.toml, which differs from containerd's: containerd 2 also reads version 2.
_PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_CRI = {"cri", *_PLUGINS.values()}
_CTR = "Pass the directory to ctr as an option: ctr images pull --hosts-dir %s IMAGE"
_CRI_OFF = f"{CONFIG} disables the CRI plugin, so the file is not changed."


def plan(inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
    """Return hosts.toml files in the directory `config_path`, which is set in config.toml if it is missing."""
    text = existing.get(CONFIG)
    document = parse_toml(CONFIG, text)
    if not document:
        document["version"] = 2
    disabled = document.get("disabled_plugins", [])
    if _CRI & set(disabled):
        return ClientPlan(tuple(hosts_files(inputs, existing, CERTS)), (_CRI_OFF, _CTR % CERTS))
    registry = _registry(document)
    directory = str(registry.get("config_path") or "").split(":")[0]
    files = list(hosts_files(inputs, existing, directory or CERTS))
    if not directory:
        registry["config_path"] = CERTS
        files.append(ClientFile(CONFIG, tomlkit.dumps(document), restart=_RESTART))
    return ClientPlan(tuple(files), (_CTR % (directory or CERTS),))


def _registry(document: Table) -> Table:
    version = document.get("version", 1)
    plugin = _PLUGINS.get(version)
    if plugin is None:
        raise ClientError(f"{CONFIG}: version {version} is unknown. Set config_path in the file by hand.")
    registry = table(CONFIG, document, "plugins", plugin, "registry")
    old = "mirrors" if registry.get("mirrors") else "configs" if _has_tls(registry.get("configs")) else None
    if old:
        raise ClientError(
            f"{CONFIG} has plugins.{plugin}.registry.{old}, which containerd rejects together with config_path. "
            "Nothing was changed. Move these settings to hosts.toml files (containerd's docs/hosts.md), "
            "then run the command again."
        )
    return registry


def _has_tls(configs: object) -> bool:
    return isinstance(configs, dict) and any("tls" in config for config in configs.values())
