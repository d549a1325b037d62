"""The real clients, set up for the cache as the documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from tests.e2e.places import PLACES
from tests.e2e.program import HOST, URL
from tests.kit.clients import Containerd, Docker, Podman, Skopeo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from tests.kit.content import Pushable
    from tests.kit.sealed import SealedNetwork

_MIRROR = """
[[registry]]
prefix = "{registry}"
location = "{registry}"
[[registry.mirror]]
location = "{host}/{registry}"
insecure = true
"""
_INSECURE = f"""
[[registry]]
location = "{HOST}"
insecure = true
"""
_HOSTS = """
[host."{url}"]
  capabilities = ["pull", "resolve"]
"""


class Client(Protocol):
    """What every client does; a context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def pull(self, reference: str) -> object:
        """Pull an image by its real name."""


class PullingSkopeo(Skopeo):
    """skopeo as the others are: the settings are in its files, it only pulls."""

    def pull(self, reference: str) -> Path:
        """Copy it into a folder."""
        return self.copy(reference)


def mirrored_skopeo(network: SealedNetwork) -> PullingSkopeo:
    """skopeo with the cache as the mirror of each registry."""
    return PullingSkopeo(network, registries=_mirrors())


def mirrored_podman(network: SealedNetwork) -> Podman:
    """podman with the cache as the mirror of each registry."""
    return Podman(network, registries=_mirrors())


def mirrored_containerd(network: SealedNetwork) -> Containerd:
    """containerd with a hosts.toml for each registry."""
    toml = _HOSTS.format(url=URL)
    return Containerd(network, hosts={place.registry: toml for place in PLACES})


def default_containerd(network: SealedNetwork) -> Containerd:
    """containerd with one hosts.toml for all registries."""
    return Containerd(network, hosts={"_default": _HOSTS.format(url=URL)})


def mirrored_docker(network: SealedNetwork) -> Docker:
    """dockerd with the cache as the mirror of Docker Hub, the only registry that it mirrors."""
    return Docker(network, mirrors=[URL])


MIRRORED: dict[str, Callable[[SealedNetwork], Client]] = {
    "skopeo": mirrored_skopeo,
    "podman": mirrored_podman,
    "containerd": mirrored_containerd,
    "docker": mirrored_docker,
}
# The cache by its address, as in 127.0.0.1:5000/ghcr.io/acme/app: it is the only server that is asked.
DIRECT: dict[str, Callable[[SealedNetwork], Client]] = {
    "skopeo": lambda network: PullingSkopeo(network, registries=_INSECURE),
    "podman": lambda network: Podman(network, registries=_INSECURE),
    "containerd": lambda network: Containerd(network, hosts={HOST: _HOSTS.format(url=URL)}),
    # Docker tries again five times, after longer and longer pauses: once is enough here.
    "docker": lambda network: Docker(network, settings={"max-download-attempts": 1}),
}


def check_pulled(folder: Path, pushed: Pushable) -> None:
    """What skopeo wrote is, byte for byte, what was pushed, and all of it."""
    assert (folder / "manifest.json").read_bytes() == pushed.manifest.raw
    for manifest in set(pushed.manifests) - {pushed.manifest}:
        assert (folder / f"{manifest.digest[7:]}.manifest.json").read_bytes() == manifest.raw
    for blob in pushed.blobs:
        assert (folder / blob.digest[7:]).read_bytes() == blob.raw


def _mirrors() -> str:
    return "".join(_MIRROR.format(registry=place.registry, host=HOST) for place in PLACES)
