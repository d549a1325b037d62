"""What the cache hands to the server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from io import FileIO

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Manifest


class Outcome(Enum):
    """How an answer came about."""

    HIT = "hit"
    STALE = "stale"
    REVALIDATED = "revalidated"
    MISS = "miss"
    JOINED = "joined"
    PASSED = "passed"
    ASKED = "asked"  # the upstream's own answer, which is not kept


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest and how it came about; until `fresh_until` (Unix seconds) it may be served again without asking."""

    manifest: Manifest
    outcome: Outcome
    fresh_until: float = 0.0


@dataclass(frozen=True, slots=True)
class FilePiece:
    """`length` bytes of `file` from `offset` on, there to be sent."""

    file: FileIO
    offset: int
    length: int


class Body(Protocol):
    """A blob that is there, or is coming in. Close it in any case."""

    @property
    def size(self) -> int: ...
    def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """The bytes from `start` to `stop` (excluded), each piece as soon as it is there.

        The blob's last byte comes only after its digest was verified. Raises RegistryError when it can't be had.
        """
        ...

    def report_damage(self) -> None:
        """The file of a piece could not be read to its end."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ServedBlob:
    """A blob's body and how it came about."""

    digest: Digest
    body: Body
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ServedSize:
    """The answer to a HEAD of a blob."""

    digest: Digest
    size: int
    outcome: Outcome
