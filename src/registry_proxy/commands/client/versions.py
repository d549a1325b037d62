"""Versions of Docker and containerd, and the files that each reads. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Version = tuple[int, int]

# Since then dockerd reads hosts.toml, for pulls if it has the containerd image store (moby, daemon/hosts.go).
DOCKER_HOSTS: Version = (28, 0)
# The CRI plugin reads hosts.toml.
CONTAINERD_HOSTS: Version = (1, 5)
CONTAINERD_2: Version = (2, 0)
# Its usual way to pull takes a list of directories in `config_path` for the name of one (containerd issue 12808).
CONTAINERD_ONE_DIRECTORY: Version = (2, 1)
# `config_path` and `imports` have the defaults below.
CONTAINERD_DEFAULTS: Version = (2, 2)
DEFAULT_PATH = "/etc/containerd/certs.d:/etc/docker/certs.d"
DEFAULT_IMPORTS = ("/etc/containerd/conf.d/*.toml",)

# The plugin that pulls for Kubernetes, by the version of config.toml, which differs from containerd's: containerd 2
# also reads version 2, and version 4 is containerd 2.3's.
CRI_PLUGINS = {
    1: "cri",
    2: "io.containerd.grpc.v1.cri",
    3: "io.containerd.cri.v1.images",
    4: "io.containerd.cri.v1.images",
}


def parse_version(text: str) -> Version | None:
    """Return the version in the output of `PROGRAM --version`, None without one."""
    found = re.search(r"(?<![\w.])v?(\d+)\.(\d+)", text, re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Return whether the output of `docker info` is that of a dockerd with the containerd image store."""
    drivers = info.get("DriverStatus") or []
    return any(str(each).startswith("io.containerd.snapshotter") for pair in drivers for each in pair)


def pulls_locally(images: Mapping[str, Any]) -> bool:
    """Return whether the settings of the CRI plugin select the way to pull that reads a list of directories."""
    return bool(images.get("use_local_image_pull") or images.get("discard_unpacked_layers"))
