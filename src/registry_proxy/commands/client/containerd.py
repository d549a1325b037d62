"""containerd, for Kubernetes, nerdctl and ctr. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.client.containerd_config import CONFIG, read_config
from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.hosts_toml import hosts_files
from registry_proxy.commands.client.planner import ClientPlan
from registry_proxy.commands.client.versions import CONTAINERD_HOSTS, parse_version

if TYPE_CHECKING:
    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles

CERTS = "/etc/containerd/certs.d"
_VERSION = "containerd --version"
_CTR = "Pass the directory to ctr as an option: ctr images pull --hosts-dir %s IMAGE"
_CRI_OFF = f"{CONFIG} disables the CRI plugin, so the file is not changed."
_ONE = (
    "containerd 2.1 and later take a list in config_path for the name of one directory, so it is %s now. Move there "
    "what you need from %s."
)


def plan(inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
    """Return hosts.toml files in a directory that containerd reads. `config_path` is changed if there is none."""
    version = parse_version(existing.output(_VERSION))
    if version is not None and version < CONTAINERD_HOSTS:
        raise ClientError(
            f"containerd {version[0]}.{version[1]} reads no hosts.toml. Nothing was changed. "
            "Upgrade it to 1.5 or later."
        )
    config = read_config(existing, version)
    if config.is_disabled:
        return ClientPlan(tuple(hosts_files(inputs, existing, CERTS)), (_CRI_OFF, _CTR % CERTS))
    directories = config.directories()
    first, *others = directories or [CERTS]
    files, notes = list(hosts_files(inputs, existing, first)), [_CTR % first]
    if not config.reads(directories):
        files += config.changed(first)
        notes += [_ONE % (first, ", ".join(others))] if others else []
    return ClientPlan(tuple(files), tuple(notes))
