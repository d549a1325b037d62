"""Interface of the blob store. Every implementation passes the conformance suite in `tests/storage`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from io import FileIO

    from registry_proxy.oci.reference import Digest, Repository


class StoreError(Exception):
    """An operation of the store failed. The text has the path and the operating system's reason."""


class StoreFullError(StoreError):
    """The disk or the quota has no space for more bytes."""


class StoredBlob(Protocol):
    """Committed content, open for reading. It stays readable after the content is deleted."""

    @property
    def file(self) -> FileIO:
        """The open file, with its own offset."""
        ...

    @property
    def size(self) -> int:
        """The size in bytes."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Ingest(Protocol):
    """Content in progress. Only this process may extend it, until `commit`, `discard` or `close` ends the ingest.

    All methods except `view` may block: call them in a thread.
    """

    @property
    def digest(self) -> Digest:
        """The digest that the complete content must have."""
        ...

    @property
    def size(self) -> int:
        """The number of bytes written, including those of an interrupted ingest that this one continues."""
        ...

    def view(self) -> FileIO:
        """Return a new handle on the file, which stays readable after the commit. The caller closes it.

        Raise StoreError, also if the ingest has ended without a commit.
        """
        ...

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Write at the end. Raise StoreFullError or StoreError; `size` then includes the bytes that were written."""
        ...

    def truncate(self) -> None:
        """Remove all bytes, to start again. Earlier views and followers see an empty file, never the new bytes.

        Raise StoreError.
        """
        ...

    def commit(self) -> None:
        """Make the bytes durable content: sync, then rename. Ends the ingest. The caller has verified the digest.

        Raise StoreFullError or StoreError. The bytes are then deleted, since after a failed sync none are reliable.
        """
        ...

    def discard(self) -> None:
        """End the ingest and delete its bytes. Views stay readable. Do nothing if it has already ended."""
        ...

    def close(self) -> None:
        """Close the ingest and keep its bytes for the next one of this digest. Do nothing if it has already ended."""
        ...


class FollowedIngest(Protocol):
    """An ingest that another process owns, open for reading. No method blocks for long."""

    @property
    def file(self) -> FileIO:
        """The open file, with its own offset."""
        ...

    def size(self) -> int:
        """Return the number of bytes written so far."""
        ...

    def verified(self) -> bool:
        """Return whether the owner has begun to commit: then the bytes are complete and have the digest."""
        ...

    def discarded(self) -> bool:
        """Return whether the owner deleted these bytes. Bytes that were read may be wrong."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class BlobStore(Protocol):
    """Content by digest. `open`, `begin` and `follow` are fast enough for the event loop. The rest may block."""

    def open(self, digest: Digest) -> StoredBlob | None:
        """Return the content, or None if it is not stored. Raise StoreError if it can't be read."""
        ...

    def begin(self, digest: Digest) -> Ingest | None:
        """Start or resume an ingest. Return None while another owner has it. Raise StoreError."""
        ...

    def follow(self, digest: Digest) -> FollowedIngest | None:
        """Return the ingest of another owner, or None if there is none. Raise StoreError."""
        ...

    def link(self, digest: Digest, file: FileIO) -> bool:
        """Add a file that has this digest as content, without copying it. The file itself is not changed.

        The file must not be changed afterwards. Return False if the store can't link it. Raise StoreFullError or
        StoreError.
        """
        ...

    def delete(self, digest: Digest) -> None:
        """Delete the content. Do nothing if it is missing. Raise StoreError."""
        ...

    def walk(self) -> Iterator[tuple[Digest, int]]:
        """Yield all content with its size in bytes, in no order. Raise StoreError."""
        ...

    def remove_abandoned_ingests(self, older_than: float, newer_than: float = math.inf) -> list[Digest]:
        """Delete ingests without an owner, last written before `older_than` or after `newer_than` (Unix seconds).

        After a clock was set back, leftovers seem to be written in the future, and would stay for as long.

        Return their digests. Raise StoreError.
        """
        ...


class ArchivedBlob(Protocol):
    """A blob of another program's storage, not verified: its size in bytes and the time of its last write (Unix)."""

    @property
    def digest(self) -> Digest: ...
    @property
    def size(self) -> int: ...
    @property
    def modified_at(self) -> float: ...
    def open(self) -> FileIO:
        """Open the bytes for reading. Raise OSError."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivedRepository:
    """A repository in another program's storage: its tags, and the time of each link to its content (Unix)."""

    name: Repository
    tags: Mapping[str, Digest]
    manifests: Mapping[Digest, float]
    layers: Mapping[Digest, float]


class Archive(Protocol):
    """Content of another program that can be imported."""

    def blobs(self) -> Iterable[ArchivedBlob]:
        """Return all blobs, in no order. Raise StoreError."""
        ...

    def repositories(self) -> Iterable[ArchivedRepository]:
        """Return all repositories with a valid name. Raise StoreError."""
        ...
