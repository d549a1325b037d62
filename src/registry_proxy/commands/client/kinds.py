"""The kinds of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.client import buildkit, containerd, docker, kubernetes, podman

if TYPE_CHECKING:
    from registry_proxy.commands.client.plan import Planner


@dataclass(frozen=True, slots=True)
class Kind:
    """A client: how its files are made; `applicable`: whether they lie on a machine that we can change."""

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
