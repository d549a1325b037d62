"""Conversion between values and columns."""

from __future__ import annotations

from registry_proxy.oci.reference import Digest, Repository, Source

_ALGORITHM_BY_LENGTH = {32: "sha256", 64: "sha512"}


def to_key(digest: Digest) -> bytes:
    """Return a digest's bytes. Their number determines the algorithm."""
    return bytes.fromhex(digest.hex)


def from_key(key: bytes) -> Digest:
    """Return the digest of a column."""
    return Digest(_ALGORITHM_BY_LENGTH[len(key)], key.hex())


def to_source(registry: str, full_name: str) -> Source:
    """Return the repository with a full name, which begins with the registry."""
    return Source(registry, Repository(full_name[len(registry) + 1 :]))
