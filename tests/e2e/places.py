"""Where images lie in the five registries, and how clients of the cache name them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.e2e.program import HOST


@dataclass(frozen=True, slots=True)
class Place:
    """A registry: its profile in the kit, its name in image names, what repositories there begin with."""

    profile: str
    registry: str
    group: str

    def repository(self, name: str) -> str:
        """The repository as the registry itself knows it."""
        return f"{self.group}{name}"

    def image(self, name: str) -> str:
        """The name that users write, without a tag."""
        return f"{self.registry}/{name if self is HUB else self.repository(name)}"

    def cached(self, name: str) -> str:
        """The same image by way of the cache: the registry is a prefix of the path, but for Docker Hub."""
        return f"{HOST}/{name}" if self is HUB else f"{HOST}/{self.image(name)}"

    def path(self, name: str) -> str:
        """The repository in the cache's own paths."""
        return self.cached(name).removeprefix(f"{HOST}/")


HUB = Place("dockerhub", "docker.io", "library/")
GHCR = Place("ghcr", "ghcr.io", "acme/")
QUAY = Place("quay", "quay.io", "acme/team/")
GCR = Place("gcr", "gcr.io", "acme-project/")
K8S = Place("k8s", "registry.k8s.io", "")
PLACES = (HUB, GHCR, QUAY, GCR, K8S)

everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.profile)
