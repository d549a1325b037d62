"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hashlib import _Hash

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
