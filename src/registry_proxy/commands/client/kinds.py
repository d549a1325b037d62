"""The kinds of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.client import buildkit, containerd, docker, kubernetes, podman

if TYPE_CHECKING:
    from registry_proxy.commands.client.planner import Planner


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of client. `applicable`: its files are on a machine, and not only an argument of another program."""

    planner: Planner
    applicable: bool = True


KINDS = {
    "docker": Kind(docker.plan),
    "containerd": Kind(containerd.plan),
    "podman": Kind(podman.plan),
    "cri-o": Kind(podman.crio_plan),
    "skopeo": Kind(podman.plan),
    "buildah": Kind(podman.plan),
    "buildkit": Kind(buildkit.plan),
    "k3s": Kind(kubernetes.k3s_plan),
    "rke2": Kind(kubernetes.rke2_plan),
    "kind": Kind(kubernetes.kind_plan),
    "talos": Kind(kubernetes.talos_plan, applicable=False),
}
