"""Manifests in the store: small content, parsed when it is read and kept in memory for a while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cachetools import LRUCache

from registry_proxy.aio.pools import READING, STORING, parse
from registry_proxy.index.base import IndexFailedError
from registry_proxy.oci.manifest import MAX_MANIFEST_SIZE, InvalidManifestError, Manifest, parse_manifest
from registry_proxy.storage.base import StoreError, StoreFullError

if TYPE_CHECKING:
    from registry_proxy.cache.content import ContentStore, StoredBody
    from registry_proxy.cache.evictor import Evictor
    from registry_proxy.oci.reference import Digest
    from registry_proxy.storage.base import BlobStore, StoredBlob

log = logging.getLogger(__name__)


# Total size of the recently used manifests in memory, in bytes.
_RECENT = 16 * 1024 * 1024


class ManifestStore:
    """Reads and writes of manifests. A manifest that cannot be stored is still served."""

    def __init__(self, store: BlobStore, content: ContentStore, evictor: Evictor) -> None:
        self._store = store
        self._content = content
        self._evictor = evictor
        # The content of a digest cannot be out of date.
        self._recent: LRUCache[Digest, Manifest] = LRUCache(_RECENT, _size)

    async def load(self, digest: Digest) -> Manifest | None:
        """Return the manifest, if it is stored. Remove a damaged one."""
        manifest = self._recent.get(digest)
        # A manifest that any process has evicted must not stay in memory alone: a restart would lose it.
        if manifest is None or not await self._content.has(digest):
            manifest = await self._read(digest)
        if manifest is not None:
            self._content.touch(digest)
        return manifest

    async def body(self, digest: Digest) -> StoredBody | None:
        """Return a stored manifest as the body of a response. The caller closes it."""
        return await self._content.body(digest)

    def forget(self) -> None:
        """Drop the manifests in memory: some may have been removed from the store."""
        self._recent.clear()

    async def save(self, manifest: Manifest) -> bool:
        """Store the manifest. Return whether it is stored."""
        self._recent[manifest.digest] = manifest
        try:
            if not await self._evictor.reserve(manifest.digest, len(manifest.raw)):
                return False
            try:
                await STORING.run(self._write, manifest)
            except StoreFullError:
                if not await self._evictor.free(len(manifest.raw)):
                    raise
                await STORING.run(self._write, manifest)
        except (StoreError, IndexFailedError) as error:
            log.warning("manifest %s not stored: %s. Check the disk.", manifest.digest, error)
            await self._content.end_reservation(manifest.digest)
            return False
        return True

    def _write(self, manifest: Manifest) -> None:
        ingest = self._store.begin(manifest.digest)
        if ingest is None:
            return  # another process is storing it
        try:
            if ingest.size:
                ingest.truncate()
            ingest.append([manifest.raw])
            ingest.commit()
        except BaseException:
            ingest.discard()
            raise

    async def _read(self, digest: Digest) -> Manifest | None:
        stored = await self._content.open(digest)
        if stored is None:
            return None
        try:
            if stored.size > MAX_MANIFEST_SIZE:
                return None
            raw = await READING.run(_read_all, stored)
        except OSError as error:
            log.error("cannot read manifest %s, downloading it again: %s", digest, error)  # noqa: TRY400
            return None
        finally:
            stored.close()
        if not await parse(digest.matches, raw):
            log.error("manifest %s is damaged on disk, downloading it again", digest)
            await self._content.remove(digest)
            return None
        try:
            manifest = await parse(parse_manifest, raw, "", digest)
        except InvalidManifestError:
            return None  # a blob that was requested as a manifest
        self._recent[manifest.digest] = manifest
        return manifest


def _read_all(stored: StoredBlob) -> bytes:
    return stored.file.readall()


def _size(manifest: Manifest) -> int:
    return len(manifest.raw)
