"""Repository names, tags and digests.

OCI distribution-spec, "Pulling manifests"; OCI image-spec, descriptor.md, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hashlib import _Hash

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)

# Clients limit the full name, including the registry, to 255 characters.
MAX_REPOSITORY_LENGTH = 255


def path_of_registry(registry: str) -> str:
    """Return the name of a registry as the first part of repository names.

    Their grammar has no colon, so `HOST:PORT` becomes `HOST_PORT`: podman rejects a mirror with a colon in its path.
    No host name contains an underscore.
    """
    return registry.replace(":", "_")


class InvalidNameError(ValueError):
    """The text is not a repository name of the specification's grammar."""


class InvalidTagError(ValueError):
    """The text is not a tag of the specification's grammar."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's name inside its registry, such as `library/alpine`."""

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > MAX_REPOSITORY_LENGTH or not REPOSITORY_NAME.fullmatch(self.name):
            raise InvalidNameError(f"{self.name[:80]!r} is not a repository name")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, such as `latest`."""

    name: str

    def __post_init__(self) -> None:
        if not TAG.fullmatch(self.name):
            raise InvalidTagError(f"{self.name[:80]!r} is not a tag")

    def __str__(self) -> str:
        return self.name


# The registered algorithms and the length of their lower-case hexadecimal form.
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


class InvalidDigestError(ValueError):
    """The text is not a digest of a registered algorithm."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A verified-by-construction `algorithm:hex`, with `sha256` or `sha512` as the algorithm."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if _HEX_LENGTH.get(self.algorithm) != len(self.hex) or not _HEX.fullmatch(self.hex):
            raise InvalidDigestError(
                f"{f'{self.algorithm}:{self.hex}'[:150]!r} is not a sha256 or sha512 digest"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `algorithm:hex`. Raise InvalidDigestError."""
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of `content`."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def matches(self, content: bytes) -> bool:
        """Return whether `content` has this digest."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex

    def hasher(self) -> _Hash:
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


Reference = Tag | Digest


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at its registry, such as `docker.io/library/alpine`. Access depends on the source of content."""

    registry: str
    repository: Repository

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


def official(name: Repository) -> Repository:
    """Return the full name of one of Docker's official images: `library/alpine` for `alpine`."""
    return name if "/" in name.name else Repository(f"library/{name}")


def parse_reference(text: str) -> Reference:
    """Parse a digest if there is a colon, otherwise a tag. Raise InvalidDigestError or InvalidTagError."""
    return Digest.parse(text) if ":" in text else Tag(text)


def referrers_tag(subject: Digest) -> Tag:
    """Return the tag for registries without the referrers API (distribution-spec, "Referrers Tag Schema").

    The tag has at most 64 characters of the digest.
    """
    return Tag(f"{subject.algorithm}-{subject.hex[:64]}")
