"""Recently served manifests, in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Manifest

DEFAULT_CAPACITY = 16 * 1024 * 1024


class RecentManifests:
    """The last manifests, up to `capacity` bytes of them. Content by digest can't be out of date."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()

    def get(self, digest: Digest) -> Manifest | None:
        """The manifest, which is then the most recent one."""
        manifest = self._manifests.get(digest)
        if manifest is not None:
            self._manifests.move_to_end(digest)
        return manifest

    def put(self, manifest: Manifest) -> None:
        """Keep it, at the cost of the least recent ones."""
        self.drop(manifest.digest)
        self._manifests[manifest.digest] = manifest
        self._bytes += len(manifest.raw)
        while self._bytes > self._capacity:
            _, oldest = self._manifests.popitem(last=False)
            self._bytes -= len(oldest.raw)

    def clear(self) -> None:
        """Forget all."""
        self._manifests.clear()
        self._bytes = 0

    def drop(self, digest: Digest) -> None:
        """Forget it."""
        manifest = self._manifests.pop(digest, None)
        if manifest is not None:
            self._bytes -= len(manifest.raw)
