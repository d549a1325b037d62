"""The images of a soak: many, in several registries, with shared layers, and with tags that move."""

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
# The simulated registries, by profile, and their names. Not Docker Hub: it counts pulls, and would soon limit them.
REGISTRIES = {
    "ghcr": "ghcr.io",
    "quay": "quay.io",
    "gcr": "gcr.io",
    "k8s": "registry.k8s.io",
    "gitlab": "registry.gitlab.com",
}
# Sizes of layers, in bytes.
_SMALLEST, _LARGEST = 64 << 10, 12 << 20
_LARGE_LAYERS = 4
# One in this many images is an index.
_INDEXES = 5


@dataclass(slots=True)
class Item:
    """A repository with one tag. `versions` are all targets of the tag, the current one last."""

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
        """The target of the tag."""
        return self.versions[-1]

    def move(self, version: Pushable) -> None:
        """Point the tag to `version`."""
        self.versions.append(version)
        self.moved_at = time.monotonic()

    def tagged(self, digest: str) -> bool:
        """Return whether the tag points or pointed to this digest."""
        return any(version.manifest.digest == digest for version in self.versions)

    def holds(self, digest: str) -> bool:
        """Return whether a blob is or was part of the image."""
        return any(blob.digest == digest for version in self.versions for blob in version.blobs)

    def blob(self, digest: str) -> Content:
        """Return one of the blobs. Raise StopIteration if no version has it."""
        return next(blob for version in self.versions for blob in version.blobs if blob.digest == digest)

    @property
    def own_layer(self) -> str:
        """The digest of a layer that no other repository has."""
        return self.current.blobs[1].digest


class Factory:
    """Generator of images, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = seed * 1_000_000
        self._shared = [self._layer(size) for size in (1 << 20, 4 << 20, 8 << 20)]

    def items(self, count: int) -> list[Item]:
        """Return new repositories with their first version."""
        profiles = list(REGISTRIES)
        items = []
        for number in range(count):
            item = Item(profiles[number % len(profiles)], f"acme/app-{number}")
            item.move(self.version())
            items.append(item)
        return items

    def version(self) -> Pushable:
        """Return a new image or index."""
        if self._random.randrange(_INDEXES):
            return self.image()
        return images.index(self.image(), self.image("linux/arm64"), odd_whitespace=True)

    def image(self, platform: str = "linux/amd64", *, size: int | None = None) -> Image:
        """Return a new image. All of its layers except one may be shared."""
        layers = [self._layer(size or self._size())]
        layers += self._random.sample(self._shared, self._random.randrange(2))
        layers += [self._layer(self._size() // 16) for _ in range(self._random.randrange(_LARGE_LAYERS))]
        return images.assemble(layers, platform=platform, seed=self._next())

    def _size(self) -> int:
        # As in practice, many layers are small, and a few large ones have most of the bytes.
        return int(_SMALLEST * (_LARGEST / _SMALLEST) ** self._random.random())

    def _layer(self, size: int) -> Layer:
        return images.random_layer(size, self._next())

    def _next(self) -> int:
        self._number += 1
        return self._number
