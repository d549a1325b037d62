"""Image names as users write them: `alpine`, `ghcr.io/acme/app:1.2`, `quay.io/acme/app@sha256:…`."""

from __future__ import annotations

from dataclasses import dataclass

from registry_proxy.oci.reference import Digest, Reference, Repository, Tag

DEFAULT_REGISTRY = "docker.io"


@dataclass(frozen=True, slots=True)
class ImageName:
    """A repository at a registry, as written, and the tag or digest, if any."""

    registry: str
    repository: Repository
    reference: Reference | None = None


def parse_image_name(text: str) -> ImageName:
    """Parse a name. Raise InvalidNameError, InvalidTagError or InvalidDigestError.

    The first part is a registry if it has a dot or a colon or is `localhost` (distribution/reference, "normalize.go").
    A tag next to a digest is ignored.
    """
    name, has_digest, digest = text.partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, ""
    reference = Digest.parse(digest) if has_digest else Tag(tag) if tag else None
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ImageName(first.lower(), Repository(rest), reference)
    return ImageName(DEFAULT_REGISTRY, Repository(path), reference)
