"""The index in an SQLite file (WAL), for one or several processes.

Reads run where they are called, on a connection of their own: a point read takes less time than handing it to a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from registry_proxy.index import writes
from registry_proxy.index.base import Content, Image, IndexFailedError, Link, RegistryUsage, TagRecord
from registry_proxy.index.database import connect_reader, open_database
from registry_proxy.index.values import from_key, to_key, to_source
from registry_proxy.index.writer import BatchingWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Source

_LINK = """
    SELECT size, confirmed_at FROM link
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND digest = ?
"""
_TAG = """
    SELECT digest, checked_at FROM tag
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND name = ?
"""
# A name with a colon is a key of another document, see `Index.tag`.
_TAGS = """
    SELECT name FROM tag
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND instr(name, ':') = 0 ORDER BY name
"""
_REPOSITORIES = """
    SELECT registry, full_name FROM repository
    WHERE full_name > ? AND (?2 IS NULL OR registry = ?2) AND EXISTS (SELECT 1 FROM link WHERE repository = id)
    ORDER BY full_name LIMIT ?
"""
_USED_BYTES = """
    SELECT content_bytes + (
        SELECT coalesce(sum(size), 0) FROM reservation WHERE digest NOT IN (SELECT digest FROM content)
    ) FROM state
"""
_USAGE = """
    WITH held AS (SELECT DISTINCT registry, digest FROM link JOIN repository ON id = repository)
    SELECT registry,
        (SELECT count(*) FROM repository AS r
         WHERE r.registry = held.registry AND EXISTS (SELECT 1 FROM link WHERE repository = r.id)),
        (SELECT count(*) FROM repository AS r JOIN tag ON tag.repository = r.id
         WHERE r.registry = held.registry AND instr(tag.name, ':') = 0),
        coalesce(sum(size), 0)
    FROM held LEFT JOIN content USING (digest) GROUP BY registry ORDER BY registry
"""
_IMAGES = """
    SELECT registry, full_name, tag.name, tag.digest, checked_at, content.used_at, (
        WITH RECURSIVE part (digest) AS (
            SELECT tag.digest UNION SELECT child.digest FROM part JOIN child ON child.manifest = part.digest
        ) SELECT coalesce(sum(size), 0) FROM part JOIN content USING (digest)
    )
    FROM tag JOIN repository ON repository.id = tag.repository LEFT JOIN content USING (digest)
    WHERE instr(tag.name, ':') = 0 AND (?1 IS NULL OR registry = ?1) ORDER BY full_name, tag.name
"""


class SqliteIndex:
    """An Index in the file `path`, used by one thread. Raises IndexFailedError when it can't be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = open_database(path)
        self._reader = self._database.reader
        self._writer = BatchingWriter(self._database.writer, str(path), self._database.reserve.release)
        self.is_new = self._database.is_new

    def link(self, source: Source, digest: Digest) -> Link | None:
        row = self._row(_LINK, str(source), to_key(digest))
        return Link(digest, *row) if row else None

    def tag(self, source: Source, name: str) -> TagRecord | None:
        row = self._row(_TAG, str(source), name)
        return TagRecord(from_key(row[0]), row[1]) if row else None

    def content(self, digest: Digest) -> Content | None:
        row = self._row("SELECT size, media_type, used_at FROM content WHERE digest = ?", to_key(digest))
        return Content(digest, *row) if row else None

    def tags(self, source: Source) -> list[str]:
        return [name for (name,) in self._rows(_TAGS, str(source))]

    def repositories(self, registry: str | None, after: str, limit: int) -> list[Source]:
        return [to_source(*row) for row in self._rows(_REPOSITORIES, after, registry, limit)]

    def used_bytes(self) -> int:
        (used,) = self._rows(_USED_BYTES)[0]
        return int(used)

    def coldest(self, limit: int) -> list[Content]:
        query = "SELECT digest, size, media_type, used_at FROM content ORDER BY used_at LIMIT ?"
        return [Content(from_key(key), *rest) for key, *rest in self._rows(query, limit)]

    def reserved(self) -> dict[Digest, int]:
        return {from_key(key): size for key, size in self._rows("SELECT digest, size FROM reservation")}

    async def usage(self) -> list[RegistryUsage]:
        return [RegistryUsage(*row) for row in await asyncio.to_thread(self._survey, _USAGE)]

    async def images(self, registry: str | None) -> list[Image]:
        return [
            Image(to_source(of, full_name), tag, from_key(key), size, checked_at, used_at)
            for of, full_name, tag, key, checked_at, used_at, size in await asyncio.to_thread(
                self._survey, _IMAGES, registry
            )
        ]

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

    async def drop_repository(self, source: Source) -> list[Digest]:
        return await self._writer.write(partial(writes.drop_repository, source=source))

    async def reserve(self, digest: Digest, size: int, now: float) -> None:
        await self._writer.write(partial(writes.reserve, digest=digest, size=size, now=now))

    async def release(self, digest: Digest) -> None:
        await self._writer.write(partial(writes.release, digest=digest))

    async def forget(self, digests: Iterable[Digest]) -> None:
        await self._writer.write(partial(writes.forget, digests=list(digests)))

    async def adopt(self, contents: Iterable[tuple[Digest, int]], now: float) -> None:
        await self._writer.write(partial(writes.adopt, contents=list(contents), now=now))

    async def end_scan(self) -> None:
        await self._writer.write(writes.end_scan)

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        await self._writer.write(partial(writes.touch, uses=dict(uses)))

    async def close(self) -> None:
        await self._writer.close()
        self._database.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise IndexFailedError(f"can't read {self._path}: {error}") from error

    def _survey(self, query: str, *values: Any) -> list[Any]:
        """Rows of a query that takes long: on a connection of its own, so that no read of the loop waits for it."""
        try:
            with closing(connect_reader(self._path)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise IndexFailedError(f"can't read {self._path}: {error}") from error

    def _row(self, query: str, *values: Any) -> Any | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None
