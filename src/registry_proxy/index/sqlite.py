"""The index in an SQLite file (WAL), for one or several processes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.index import writes
from registry_proxy.index.database import open_database
from registry_proxy.index.reads import SqliteReader
from registry_proxy.index.writer import BatchingWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from registry_proxy.index.base import Link
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Source
    from registry_proxy.policy.removal import Removal


class SqliteIndex(SqliteReader):
    """An Index in the file `path`, used by one thread. Raise IndexFailedError if it can't be opened."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path)
        super().__init__(path, self._database.reader)
        self._writer = BatchingWriter(self._database.writer, str(path), self._database.ballast.release)
        self.is_new = self._database.is_new

    async def record_manifest(self, source: Source, manifest: Manifest, tag: str | None, now: float) -> None:
        await self._writer.write(
            partial(writes.record_manifest, source=source, manifest=manifest, tag=tag, now=now)
        )

    async def record_blob(self, source: Source, descriptor: Descriptor, now: float) -> None:
        await self._writer.write(partial(writes.record_blob, source=source, descriptor=descriptor, now=now))

    async def record_link(self, source: Source, digest: Digest, size: int | None, now: float) -> None:
        await self._writer.write(
            partial(writes.record_link, source=source, digest=digest, size=size, now=now)
        )

    async def refresh_tag(self, source: Source, tag: str, digest: Digest, now: float) -> None:
        await self._writer.write(partial(writes.refresh_tag, source=source, tag=tag, digest=digest, now=now))

    async def drop_tag(self, source: Source, tag: str) -> None:
        await self._writer.write(partial(writes.drop_tag, source=source, tag=tag))

    async def drop_link(self, source: Source, digest: Digest) -> None:
        await self._writer.write(partial(writes.drop_link, source=source, digest=digest))

    async def remove(self, source: Source, removal: Removal) -> list[Digest]:
        return await self._writer.write(partial(writes.remove, source=source, removal=removal))

    async def reserve(self, digest: Digest, size: int, now: float) -> None:
        await self._writer.write(partial(writes.reserve, digest=digest, size=size, now=now))

    async def release(self, digest: Digest) -> None:
        await self._writer.write(partial(writes.release, digest=digest))

    async def forget(self, digests: Iterable[Digest]) -> None:
        await self._writer.write(partial(writes.forget, digests=list(digests)))

    async def adopt(self, contents: Iterable[tuple[Digest, int]], now: float) -> None:
        await self._writer.write(partial(writes.adopt, contents=list(contents), now=now))

    async def import_manifest(
        self, source: Source, manifest: Manifest, tags: Iterable[str], confirmed_at: float
    ) -> None:
        await self._writer.write(
            partial(
                writes.import_manifest,
                source=source,
                manifest=manifest,
                tags=list(tags),
                confirmed_at=confirmed_at,
            )
        )

    async def import_links(self, source: Source, links: Iterable[Link]) -> None:
        await self._writer.write(partial(writes.import_links, source=source, links=list(links)))

    async def end_scan(self) -> None:
        await self._writer.write(writes.end_scan)

    async def touch(self, access_times: Mapping[Digest, float]) -> None:
        await self._writer.write(partial(writes.touch, access_times=dict(access_times)))

    async def count(self, counts: Mapping[tuple[str, str], int], now: float) -> None:
        await self._writer.write(partial(writes.count, counts=dict(counts), now=now))

    async def close(self) -> None:
        await self._writer.close()
        self._database.close()
