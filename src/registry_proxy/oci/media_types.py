"""Media types of manifests (OCI image-spec, media-types.md; Docker image manifest v2 schema 2)."""

from __future__ import annotations

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

# Manifests of artifacts, from before an image manifest could be one (OCI image-spec 1.1.0-rc2, artifact.md; ORAS).
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ORAS_ARTIFACT = "application/vnd.cncf.oras.artifact.manifest.v1+json"

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

# Docker's first schema: the digest is not the hash of the bytes, and current clients reject it.
DOCKER_SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
ARTIFACTS = frozenset({OCI_ARTIFACT, ORAS_ARTIFACT})
MANIFESTS = IMAGES | INDEXES | ARTIFACTS

# `Accept` of requests to upstream: all types, so that no registry converts a manifest.
ACCEPT = ", ".join(
    (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT, ORAS_ARTIFACT, "*/*;q=0.1")
)
