"""Import of another cache's content: verified, and within the budget. The server may run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from registry_proxy.cache.evictor import EVICTION
from registry_proxy.index.base import Link
from registry_proxy.oci.manifest import MAX_MANIFEST_SIZE, InvalidManifestError, parse_manifest
from registry_proxy.oci.reference import Source
from registry_proxy.storage.base import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from hashlib import _Hash
    from io import FileIO

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.index.base import Index
    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.oci.reference import Digest, Repository
    from registry_proxy.storage.base import Archive, ArchivedBlob, ArchivedRepository, BlobStore, Ingest

_READ_SIZE = 1024 * 1024
# A hop to a thread costs about 100 µs. Progress is reported between hops.
_READS_PER_HOP = 32
# The number of manifests per transaction of the index.
_BATCH = 500


class BlobResult(StrEnum):
    """The result for one blob."""

    LINKED = "linked"  # hard-linked
    COPIED = "copied"
    PRESENT = "present"  # already stored
    FETCHED = "fetched"  # the server is downloading it
    NO_ROOM = "no room"
    DAMAGED = "damaged"  # its content does not match its digest
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Amount:
    """The size of the import: blobs and bytes."""

    blobs: int
    size: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress: `size` more bytes are done."""

    size: int


@dataclass(frozen=True, slots=True)
class BlobDone:
    """A blob is done. `reason` says why it was left out."""

    digest: Digest
    size: int
    result: BlobResult
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRefused:
    """A manifest that this cache does not serve, such as one of Docker's schema 1."""

    source: Source
    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class RepositoryDone:
    """A repository is done, with so many tags and manifests."""

    source: Source
    tags: int
    manifests: int


Event = Amount | Progress | BlobDone | ManifestRefused | RepositoryDone


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """The registry that the other cache cached, and the canonical names of its repositories."""

    registry: str
    canonical: Callable[[Repository], Repository]


class Importer:
    """Runs one import, and calls `report` with each event. `max_size` is in bytes, 0 for no limit."""

    def __init__(
        self,
        store: BlobStore,
        index: Index,
        locks: NamedLocks,
        max_size: int,
        clock: Callable[[], float],
        report: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._index = index
        self._locks = locks
        self._max_size = max_size
        self._clock = clock
        self._report = report

    async def run(self, archive: Archive, target: ImportTarget, *, copy: bool, threads: int) -> None:
        """Import the blobs, the most recent first, then the repositories.

        Hard-link the files, unless `copy` is set. Evict nothing. Raise StoreError if the archive cannot be listed,
        IndexFailedError if the index fails.
        """
        repositories = await asyncio.to_thread(lambda: list(archive.repositories()))
        blobs = await asyncio.to_thread(lambda: list(archive.blobs()))
        manifests = {digest for each in repositories for digest in each.manifests}
        # Manifests are small, and no image can be served without them.
        blobs.sort(key=lambda blob: (blob.digest not in manifests, -blob.modified_at))
        self._report(Amount(len(blobs), sum(blob.size for blob in blobs)))
        waiting = iter(blobs)
        await asyncio.gather(*(self._import_blobs(waiting, copy=copy) for _ in range(threads)))
        for repository in repositories:
            await self._import_repository(repository, target)

    async def _import_blobs(self, waiting: Iterator[ArchivedBlob], *, copy: bool) -> None:
        for blob in waiting:
            blob_import = _BlobImport(blob, self._store, self._report)
            try:
                result, reason = await self._import(blob, blob_import, copy=copy)
            except StoreFullError as error:
                result, reason = BlobResult.NO_ROOM, str(error)
            except (StoreError, OSError) as error:
                result, reason = BlobResult.UNREADABLE, str(error)
            self._report(Progress(blob.size - blob_import.done))
            self._report(BlobDone(blob.digest, blob.size, result, reason))

    async def _import(
        self, blob: ArchivedBlob, blob_import: _BlobImport, *, copy: bool
    ) -> tuple[BlobResult, str]:
        if self._is_present(blob):
            await self._count(blob)
            return BlobResult.PRESENT, ""
        ingest = self._store.begin(blob.digest)
        if ingest is None:
            return BlobResult.FETCHED, "the server is downloading it"
        try:
            if not await self._reserve(blob):
                if ingest.size:
                    ingest.close()  # an interrupted transfer can still be resumed
                return BlobResult.NO_ROOM, "max_size is reached"
            try:
                result, reason = await blob_import.run(ingest, copy=copy)
                if result is not BlobResult.DAMAGED:
                    await self._count(blob)
            finally:
                await self._index.release(blob.digest)
        finally:
            await asyncio.to_thread(ingest.discard)
        return result, reason

    def _is_present(self, blob: ArchivedBlob) -> bool:
        stored = self._store.open(blob.digest)
        if stored is None:
            return False
        stored.close()
        return stored.size == blob.size

    async def _count(self, blob: ArchivedBlob) -> None:
        """Set its access time to the time of its last write: it is evicted before content that clients use."""
        known = self._index.content(blob.digest)
        if known is None or known.size != blob.size:
            await self._index.adopt([(blob.digest, blob.size)], min(blob.modified_at, self._clock()))

    async def _reserve(self, blob: ArchivedBlob) -> bool:
        async with self._locks.hold(EVICTION):
            if self._max_size and self._index.used_bytes() + blob.size > self._max_size:
                return False
            await self._index.reserve(blob.digest, blob.size, self._clock())
        return True

    async def _import_repository(self, repository: ArchivedRepository, target: ImportTarget) -> None:
        source = Source(target.registry, target.canonical(repository.name))
        manifests = []
        for digest, at in repository.manifests.items():
            manifest = await self._manifest(source, digest)
            if manifest is not None:
                manifests.append((manifest, [tag for tag, of in repository.tags.items() if of == digest], at))
        now = self._clock()
        for first in range(0, len(manifests), _BATCH):
            await asyncio.gather(
                *(
                    self._index.import_manifest(source, manifest, tags, min(at, now))
                    for manifest, tags, at in manifests[first : first + _BATCH]
                )
            )
        links = [
            Link(digest, content.size, min(at, now))
            for digest, at in repository.layers.items()
            if (content := self._index.content(digest)) is not None
        ]
        await self._index.import_links(source, links)
        self._report(RepositoryDone(source, sum(len(tags) for _, tags, _ in manifests), len(manifests)))

    async def _manifest(self, source: Source, digest: Digest) -> Manifest | None:
        stored = self._store.open(digest)
        if stored is None:
            return None
        try:
            if stored.size > MAX_MANIFEST_SIZE:
                raise InvalidManifestError(f"the manifest has {stored.size} bytes")  # noqa: TRY301
            raw = await asyncio.to_thread(stored.file.readall)
            return parse_manifest(raw, "", digest)
        except InvalidManifestError as error:
            self._report(ManifestRefused(source, digest, str(error)))
            return None
        finally:
            stored.close()


class _BlobImport:
    """The import of one blob. `done` of its bytes are reported."""

    def __init__(self, blob: ArchivedBlob, store: BlobStore, report: Callable[[Event], None]) -> None:
        self.done = 0
        self._blob = blob
        self._store = store
        self._report = report

    async def run(self, ingest: Ingest, *, copy: bool) -> tuple[BlobResult, str]:
        """Verify the blob, then link it, or copy it into the ingest. Raise StoreError or OSError."""
        with self._blob.open() as file:
            if not copy:
                reason = await self._read(file, None)
                if reason:
                    return BlobResult.DAMAGED, reason
                if await asyncio.to_thread(self._store.link, self._blob.digest, file):
                    return BlobResult.LINKED, ""
                file.seek(0)
            # Hash the bytes again while they are copied: exactly the stored bytes are verified.
            await asyncio.to_thread(ingest.truncate)
            reason = await self._read(file, ingest)
        if reason:
            return BlobResult.DAMAGED, reason
        await asyncio.to_thread(ingest.commit)
        return BlobResult.COPIED, ""

    async def _read(self, file: FileIO, ingest: Ingest | None) -> str:
        """Hash the file, and write it to the ingest, if any. Return the damage, or an empty text."""
        hasher = self._blob.digest.hasher()
        while count := await asyncio.to_thread(_read_piece, file, hasher, ingest):
            fresh = min(count, self._blob.size - self.done)
            self.done += fresh
            self._report(Progress(fresh))
        if hasher.hexdigest() == self._blob.digest.hex:
            return ""
        return f"the content has the hash {hasher.hexdigest()}"


def _read_piece(file: FileIO, hasher: _Hash, ingest: Ingest | None) -> int:
    """Hash the next piece of a file, and write it to the ingest, if any. Return its length in bytes, 0 at the end."""
    total = 0
    for _ in range(_READS_PER_HOP):
        chunk = file.read(_READ_SIZE)
        if not chunk:
            break
        hasher.update(chunk)
        if ingest is not None:
            ingest.append([chunk])
        total += len(chunk)
    return total
