"""The stores that the conformance suite runs on, and short ways to use them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Digest
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from registry_proxy.storage.base import BlobStore, FollowedIngest, Ingest, StoredBlob

KINDS = ("filesystem",)

CONTENT = b"sixteen-bytes..."
DIGEST = Digest.of(CONTENT)

# Where a file system store keeps it.
BLOB = Path("blobs/sha256") / DIGEST.hex[:2] / DIGEST.hex
INGEST = Path("ingest") / DIGEST.hex


def open_store(address: str) -> BlobStore:
    """Open the store at `KIND:PLACE`, a text that other processes can open too."""
    kind, _, place = address.partition(":")
    assert kind in KINDS
    return FilesystemStore(Path(place))


def begin(store: BlobStore, digest: Digest = DIGEST) -> Ingest:
    ingest = store.begin(digest)
    assert ingest is not None
    return ingest


def put(store: BlobStore, content: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(content, algorithm)
    ingest = begin(store, digest)
    ingest.append([content])
    ingest.commit()
    return digest


def read_open(opened: StoredBlob | FollowedIngest, size: int = -1) -> bytes:
    """Read on, from the end of the last read. The one place of the suite that knows how content is read."""
    return opened.file.read(size)


def read(store: BlobStore, digest: Digest) -> bytes | None:
    blob = store.open(digest)
    if blob is None:
        return None
    try:
        content = read_open(blob)
        assert blob.size == len(content)
        return content
    finally:
        blob.close()
