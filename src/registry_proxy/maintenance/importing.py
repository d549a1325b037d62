"""Taking over what another cache has stored: verified, and within the budget. The server may run meanwhile."""

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
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Manifest
    from registry_proxy.oci.reference import Repository
    from registry_proxy.storage.base import BlobStore, Ingest
    from registry_proxy.storage.distribution import DistributionDirectory, OldBlob, OldRepository

_READ_SIZE = 1024 * 1024
# A hop to a thread costs about 100 µs; the progress is told between hops.
_READS_A_HOP = 32
# Repositories are written in transactions of so many manifests.
_BATCH = 500


class BlobResult(StrEnum):
    """What became of a blob."""

    LINKED = "linked"  # the same file under one more name
    COPIED = "copied"
    PRESENT = "present"  # it is here already
    FETCHED = "fetched"  # the server is just fetching it
    NO_ROOM = "no room"
    DAMAGED = "damaged"  # its bytes don't have its digest
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is to look at: blobs and bytes."""

    blobs: int
    size: int


@dataclass(frozen=True, slots=True)
class Progress:
    """So many more bytes are done."""

    size: int


@dataclass(frozen=True, slots=True)
class BlobDone:
    """A blob is done: what became of it, and why where that is not plain."""

    digest: Digest
    size: int
    fate: BlobResult
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRefused:
    """A manifest that this cache does not serve, as those of Docker's schema 1."""

    source: Source
    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class RepositoryDone:
    """A repository is done: how many of its tags and manifests were recorded."""

    source: Source
    tags: int
    manifests: int


Event = Amount | Progress | BlobDone | ManifestRefused | RepositoryDone


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """The registry that the other cache was for, and how it calls its repositories."""

    registry: str
    canonical: Callable[[Repository], Repository]


class Importer:
    """One take-over; `report` is told of all as it happens. `max_size` is in bytes, 0 for no limit."""

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

    async def run(self, old: DistributionDirectory, heir: ImportTarget, *, copy: bool, threads: int) -> None:
        """Take over blobs, the most recent first, then what their repositories say of them.

        `copy` makes no second name of any file. Nothing that is cached has to go for it. Raises StoreError when the
        folder can't be listed, IndexFailedError when the index fails.
        """
        repositories = await asyncio.to_thread(lambda: list(old.repositories()))
        blobs = await asyncio.to_thread(lambda: list(old.blobs()))
        manifests = {digest for each in repositories for digest in each.manifests}
        # Manifests are small, and nothing can be served without them.
        blobs.sort(key=lambda blob: (blob.digest not in manifests, -blob.modified_at))
        self._report(Amount(len(blobs), sum(blob.size for blob in blobs)))
        waiting = iter(blobs)
        await asyncio.gather(*(self._take_some(waiting, copy=copy) for _ in range(threads)))
        for repository in repositories:
            await self._inherit(repository, heir)

    async def _take_some(self, waiting: Iterator[OldBlob], *, copy: bool) -> None:
        for blob in waiting:
            taking = _BlobImport(blob, self._store, self._report)
            try:
                fate, reason = await self._take(blob, taking, copy=copy)
            except StoreFullError as error:
                fate, reason = BlobResult.NO_ROOM, str(error)
            except (StoreError, OSError) as error:
                fate, reason = BlobResult.UNREADABLE, str(error)
            self._report(Progress(blob.size - taking.done))
            self._report(BlobDone(blob.digest, blob.size, fate, reason))

    async def _take(self, blob: OldBlob, taking: _BlobImport, *, copy: bool) -> tuple[BlobResult, str]:
        if self._is_present(blob):
            await self._count(blob)
            return BlobResult.PRESENT, ""
        ingest = self._store.begin(blob.digest)
        if ingest is None:
            return BlobResult.FETCHED, "the server is just fetching it"
        try:
            if not await self._reserve(blob):
                if ingest.size:
                    ingest.close()  # a transfer that was interrupted can still be resumed
                return BlobResult.NO_ROOM, "the budget max_size is used up"
            try:
                fate, reason = await taking.run(ingest, copy=copy)
                if fate is not BlobResult.DAMAGED:
                    await self._count(blob)
            finally:
                await self._index.release(blob.digest)
        finally:
            await asyncio.to_thread(ingest.discard)
        return fate, reason

    def _is_present(self, blob: OldBlob) -> bool:
        stored = self._store.open(blob.digest)
        if stored is None:
            return False
        stored.close()
        return stored.size == blob.size

    async def _count(self, blob: OldBlob) -> None:
        """Count it as used when it was stored, so that it is evicted before what is really in use."""
        known = self._index.content(blob.digest)
        if known is None or known.size != blob.size:
            await self._index.adopt([(blob.digest, blob.size)], min(blob.modified_at, self._clock()))

    async def _reserve(self, blob: OldBlob) -> bool:
        async with self._locks.hold(EVICTION):
            if self._max_size and self._index.used_bytes() + blob.size > self._max_size:
                return False
            await self._index.reserve(blob.digest, blob.size, self._clock())
        return True

    async def _inherit(self, repository: OldRepository, heir: ImportTarget) -> None:
        source = Source(heir.registry, heir.canonical(repository.name))
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
                raise InvalidManifestError(f"it has {stored.size} bytes")  # noqa: TRY301
            raw = await asyncio.to_thread(stored.file.readall)
            return parse_manifest(raw, "", digest)
        except InvalidManifestError as error:
            self._report(ManifestRefused(source, digest, str(error)))
            return None
        finally:
            stored.close()


class _BlobImport:
    """One blob on its way: `done` of its bytes are reported."""

    def __init__(self, blob: OldBlob, store: BlobStore, report: Callable[[Event], None]) -> None:
        self.done = 0
        self._blob = blob
        self._store = store
        self._report = report

    async def run(self, ingest: Ingest, *, copy: bool) -> tuple[BlobResult, str]:
        """Verify it, and link it or else copy it into the ingest. Raises StoreError or OSError."""
        with self._blob.open() as file:
            if not copy:
                reason = await self._read(file, None)
                if reason:
                    return BlobResult.DAMAGED, reason
                if await asyncio.to_thread(self._store.link, self._blob.digest, file):
                    return BlobResult.LINKED, ""
                file.seek(0)
            # Hashed again: what is stored is what is verified.
            await asyncio.to_thread(ingest.truncate)
            reason = await self._read(file, ingest)
        if reason:
            return BlobResult.DAMAGED, reason
        await asyncio.to_thread(ingest.commit)
        return BlobResult.COPIED, ""

    async def _read(self, file: FileIO, ingest: Ingest | None) -> str:
        """Hash the file, and write it where there is an ingest; what is wrong with it, if anything is."""
        hasher = self._blob.digest.hasher()
        while count := await asyncio.to_thread(_take_piece, file, hasher, ingest):
            fresh = min(count, self._blob.size - self.done)
            self.done += fresh
            self._report(Progress(fresh))
        if hasher.hexdigest() == self._blob.digest.hex:
            return ""
        return f"its bytes have the hash {hasher.hexdigest()}"


def _take_piece(file: FileIO, hasher: _Hash, ingest: Ingest | None) -> int:
    """Hash, and keep, the next piece of a file; its length in bytes, 0 at the end."""
    total = 0
    for _ in range(_READS_A_HOP):
        chunk = file.read(_READ_SIZE)
        if not chunk:
            break
        hasher.update(chunk)
        if ingest is not None:
            ingest.append([chunk])
        total += len(chunk)
    return total
