"""Results that the cache returns to the server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from io import FileIO

    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.oci.reference import Digest


class Outcome(Enum):
    """The origin of a response. A value is a counter name in the index and a JSON key of `status`: never change it."""

    HIT = "hit"
    STALE = "stale"
    REVALIDATED = "revalidated"
    MISS = "miss"
    COLLAPSED = "joined"  # shared the download of another request (RFC 9211, section 2.6)
    PASS_THROUGH = "passed"  # noqa: S105 - no password
    UPSTREAM = "asked"  # the upstream's response, which is not stored


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest and its outcome.

    From `fresh_from` until `fresh_until` (Unix seconds) it may be served again without a check. Both matter: the clock
    can be set back.
    """

    manifest: Manifest
    outcome: Outcome
    fresh_from: float = 0.0
    fresh_until: float = 0.0


@dataclass(frozen=True, slots=True)
class FilePiece:
    """`length` bytes of `file` from `offset` on, ready to send."""

    file: FileIO
    offset: int
    length: int


class Body(Protocol):
    """A blob that is stored, or being downloaded. The caller closes it."""

    @property
    def size(self) -> int: ...
    def pieces(self, start: int, stop: int) -> AsyncGenerator[FilePiece | bytes]:
        """Yield the bytes from `start` to `stop` (excluded), each piece as soon as it is available.

        The last byte of the blob follows after its digest is verified. Raise RegistryError if the download fails.
        """
        ...

    def report_damage(self) -> None:
        """Report that the file of a piece could not be read to its end."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ServedBlob:
    """The body of a blob and its outcome."""

    digest: Digest
    body: Body
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ServedSize:
    """The size of a blob, in bytes, and its outcome: the result of a HEAD."""

    digest: Digest
    size: int
    outcome: Outcome
