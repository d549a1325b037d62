"""Values to index."""

from __future__ import annotations

from registry_proxy.oci.manifest import Descriptor, Manifest
from registry_proxy.oci.media_types import OCI_INDEX, OCI_MANIFEST
from registry_proxy.oci.reference import Digest, Repository, Source

ALPINE = Source("docker.io", Repository("library/alpine"))
DEBIAN = Source("docker.io", Repository("library/debian"))
TOOL = Source("ghcr.io", Repository("acme/tool"))


def digest(name: object) -> Digest:
    """A digest of its own for each name."""
    return Digest.of(str(name).encode())


def blob(name: object, size: int = 100) -> Descriptor:
    return Descriptor(digest(name), size)


def manifest(name: str, *children: Descriptor) -> Manifest:
    """A manifest whose size is the length of its name; with manifests as children it would be an index."""
    return Manifest(name.encode(), digest(name), OCI_MANIFEST, children)


def index_of(name: str, *manifests: Manifest) -> Manifest:
    """An index over manifests."""
    children = tuple(Descriptor(of.digest, len(of.raw), of.media_type) for of in manifests)
    return Manifest(name.encode(), digest(name), OCI_INDEX, children)
