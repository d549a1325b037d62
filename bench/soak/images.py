"""The images of a soak: many, in several registries, some of the same layers; tags move while it runs."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.kit import images

if TYPE_CHECKING:
    from tests.kit.content import Pushable
    from tests.kit.images import Content, Image, Layer

TAG = "latest"
# The simulated registries, by profile, and their names. Not Docker Hub: it counts pulls, and would soon refuse them.
REGISTRIES = {
    "ghcr": "ghcr.io",
    "quay": "quay.io",
    "gcr": "gcr.io",
    "k8s": "registry.k8s.io",
    "gitlab": "registry.gitlab.com",
}
_SMALLEST, _LARGEST = 64 << 10, 12 << 20
_LARGE_LAYERS = 4
# Of all images, one in so many is an index.
_INDEXES = 5


@dataclass(slots=True)
class Item:
    """A repository with one tag. `versions` are what that has pointed to, the current one last."""

    profile: str
    repository: str
    versions: list[Pushable] = field(default_factory=list)
    moved_at: float = 0.0

    @property
    def registry(self) -> str:
        """The registry's name."""
        return REGISTRIES[self.profile]

    @property
    def name(self) -> str:
        """The full name of the repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def current(self) -> Pushable:
        """What the tag points to."""
        return self.versions[-1]

    def move(self, version: Pushable) -> None:
        """The tag points to `version` from now on."""
        self.versions.append(version)
        self.moved_at = time.monotonic()

    def tagged(self, digest: str) -> bool:
        """Whether the tag points or pointed to this digest."""
        return any(version.manifest.digest == digest for version in self.versions)

    def holds(self, digest: str) -> bool:
        """Whether a blob is, or was, part of it."""
        return any(blob.digest == digest for version in self.versions for blob in version.blobs)

    def blob(self, digest: str) -> Content:
        """One of its blobs. Raises StopIteration when it has no such."""
        return next(blob for version in self.versions for blob in version.blobs if blob.digest == digest)

    @property
    def own_layer(self) -> str:
        """The digest of a layer that no other repository has."""
        return self.current.blobs[1].digest


class Factory:
    """Makes images; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = seed * 1_000_000
        self._shared = [self._layer(size) for size in (1 << 20, 4 << 20, 8 << 20)]

    def items(self, count: int) -> list[Item]:
        """Repositories with their first version."""
        profiles = list(REGISTRIES)
        made = []
        for number in range(count):
            item = Item(profiles[number % len(profiles)], f"acme/app-{number}")
            item.move(self.version())
            made.append(item)
        return made

    def version(self) -> Pushable:
        """An image or an index that there was not before."""
        if self._random.randrange(_INDEXES):
            return self.image()
        return images.index(self.image(), self.image("linux/arm64"), odd_whitespace=True)

    def image(self, platform: str = "linux/amd64", *, size: int | None = None) -> Image:
        """An image that there was not before; all but one of its layers may be shared."""
        layers = [self._layer(size or self._size())]
        layers += self._random.sample(self._shared, self._random.randrange(2))
        layers += [self._layer(self._size() // 16) for _ in range(self._random.randrange(_LARGE_LAYERS))]
        return images.assemble(layers, platform=platform, seed=self._next())

    def _size(self) -> int:
        # As in the world: many are small, most bytes are in a few large ones.
        return int(_SMALLEST * (_LARGEST / _SMALLEST) ** self._random.random())

    def _layer(self, size: int) -> Layer:
        return images.random_layer(size, self._next())

    def _next(self) -> int:
        self._number += 1
        return self._number
