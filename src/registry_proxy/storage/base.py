"""What the cache asks of a store. Every implementation passes the conformance suite in `tests/storage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO

    from registry_proxy.oci.digest import Digest


class StoreError(Exception):
    """The store can't do it: the text names the path and the operating system's reason."""


class StoreFullError(StoreError):
    """There is no space, or no quota, left for more bytes."""


class StoredBlob(Protocol):
    """Committed content, open for reading. Deleting the content doesn't disturb an open one."""

    @property
    def file(self) -> FileIO: ...
    @property
    def size(self) -> int: ...
    def close(self) -> None: ...


class Ingest(Protocol):
    """Content on its way into the store; this process alone may grow it until `commit`, `discard` or `close`.

    All methods but `view` and the properties may block: call them in a thread.
    """

    @property
    def digest(self) -> Digest: ...
    @property
    def size(self) -> int:
        """The bytes that are there; after a crash an ingest begins with those that were written before."""
        ...

    def view(self) -> FileIO:
        """A file of one's own to read from; it stays readable after the commit. The caller closes it.

        Raises StoreError; also once the ingest has ended in any way but a commit.
        """
        ...

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Write at the end. Raises StoreFullError or StoreError; `size` then tells what was kept."""
        ...

    def truncate(self) -> None:
        """Forget all bytes, to begin anew. Views and followers from before see an empty file, never the new bytes."""
        ...

    def mark_verified(self) -> None:
        """Tell the readers in other processes that the bytes are complete and have their digest."""
        ...

    def commit(self) -> None:
        """Make it durable content of the store: sync, then rename. Ends the ingest.

        Raises StoreFullError or StoreError; the bytes are then deleted, since a failed sync leaves none to rely on.
        """
        ...

    def discard(self) -> None:
        """Delete it. Ends the ingest; after its end it does nothing. Views stay readable."""
        ...

    def close(self) -> None:
        """Keep what is there for the next ingest of this digest. Ends the ingest; after its end it does nothing."""
        ...


class Followed(Protocol):
    """An ingest that another process owns, for reading. No method blocks for long."""

    @property
    def file(self) -> FileIO: ...
    def size(self) -> int:
        """How many bytes are there now."""
        ...

    def verified(self) -> bool:
        """Whether the owner found the bytes complete and right (see `Ingest.mark_verified`)."""
        ...

    def discarded(self) -> bool:
        """Whether the owner threw these bytes away: what was read of them may be wrong."""
        ...

    def close(self) -> None: ...


class BlobStore(Protocol):
    """Content by digest. `open`, `begin`, `follow` are quick enough for the event loop; the rest may block."""

    def open(self, digest: Digest) -> StoredBlob | None:
        """The content, or None when it isn't there. Raises StoreError when it can't be read."""
        ...

    def begin(self, digest: Digest) -> Ingest | None:
        """Start or resume an ingest; None while another owner has it. Raises StoreError."""
        ...

    def follow(self, digest: Digest) -> Followed | None:
        """The ingest under way elsewhere, or None when there is none. Raises StoreError."""
        ...

    def link(self, digest: Digest, file: FileIO) -> bool:
        """Make a file that has this digest content, where that is possible without a copy; the file stays as it is.

        It must not be changed by anyone afterwards. False where it can't be. Raises StoreFullError or StoreError.
        """
        ...

    def delete(self, digest: Digest) -> None:
        """Delete the content; none there is no error. Raises StoreError."""
        ...

    def walk(self) -> Iterator[tuple[Digest, int]]:
        """All content with its size in bytes, in no order."""
        ...

    def remove_abandoned_ingests(self, older_than: float) -> list[Digest]:
        """Delete ingests without an owner that were last written before `older_than` (Unix time, seconds)."""
        ...
