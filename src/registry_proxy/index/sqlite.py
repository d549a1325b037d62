"""The index in an SQLite file (WAL), for one or several processes.

Reads run in the caller, on a connection for reads: a point read takes less time than a hop to a thread. Writes are
batched in a thread.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from registry_proxy.aio.pools import SURVEYS
from registry_proxy.index import writes
from registry_proxy.index.base import (
    Content,
    Count,
    Delivery,
    Image,
    IndexCheck,
    IndexFailedError,
    Link,
    Outage,
    RegistryUsage,
    TagRecord,
)
from registry_proxy.index.database import connect_reader, open_database, open_for_reading
from registry_proxy.index.health import IndexHealth
from registry_proxy.index.values import from_key, to_key, to_source
from registry_proxy.index.writer import BatchingWriter
from registry_proxy.policy.removal import Holdings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.policy.removal import Removal

_LINK = """
    SELECT size, confirmed_at FROM link
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND digest = ?
"""
_CONFIRMED = """
    SELECT 1 FROM link JOIN repository ON id = repository
    WHERE digest = ? AND registry = ? AND confirmed_at > 0 LIMIT 1
"""
_TAG = """
    SELECT digest, checked_at FROM tag
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND name = ?
"""
# A name with a colon is the key of another document, see `IndexReads.tag`.
_TAGS = """
    SELECT name FROM tag
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND instr(name, ':') = 0 ORDER BY name
"""
_TAGS_OF = """
    SELECT name FROM tag
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND digest = ? AND instr(name, ':') = 0
    ORDER BY checked_at DESC
"""
_REPOSITORIES = """
    SELECT registry, full_name FROM repository
    WHERE full_name > ? AND (?2 IS NULL OR registry = ?2) AND EXISTS (SELECT 1 FROM link WHERE repository = id)
    ORDER BY full_name LIMIT ?
"""
_DELIVERY = "SELECT source, reserved_at FROM reservation WHERE digest = ? AND source IS NOT NULL"
_FILE_BYTES = """
    SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""
# Not `sum`, which fails on an overflow: an upstream can announce any size.
_USED_BYTES = """
    SELECT content_bytes + (
        SELECT CAST(total(size) AS INTEGER) FROM reservation WHERE digest NOT IN (SELECT digest FROM content)
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
# Tags, and manifests without a reference in their repository: pulled by digest, or left behind by a changed tag.
# SQLite keeps the order of a CROSS JOIN: there are few manifests, and the planner would begin with the many links.
_IMAGES = """
    WITH image (repository, name, digest, checked_at) AS (
        SELECT repository, name, digest, checked_at FROM tag WHERE instr(name, ':') = 0
        UNION ALL
        SELECT repository, NULL, digest, confirmed_at FROM content CROSS JOIN link AS mine USING (digest)
        WHERE media_type IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM tag WHERE repository = mine.repository AND digest = mine.digest)
        AND NOT EXISTS (
            SELECT 1 FROM child CROSS JOIN link AS parent ON parent.digest = child.manifest
            WHERE child.digest = mine.digest AND parent.repository = mine.repository
        )
    )
    SELECT registry, full_name, image.name, image.digest, checked_at, content.used_at, (
        WITH RECURSIVE part (digest, size, media_type) AS (
            SELECT digest, size, media_type FROM content WHERE digest = image.digest
            UNION
            SELECT below.digest, below.size, below.media_type
            FROM part
            CROSS JOIN child ON manifest = part.digest
            CROSS JOIN content AS below ON below.digest = child.digest
            WHERE part.media_type IS NOT NULL
        ) SELECT coalesce(sum(size), 0) FROM part
    )
    FROM image JOIN repository ON repository.id = image.repository LEFT JOIN content USING (digest)
    WHERE ?1 IS NULL OR registry = ?1 ORDER BY full_name, image.name IS NULL, image.name, image.digest
"""
_HOLDERS = """
    SELECT registry, full_name FROM link JOIN repository ON id = repository WHERE digest = ? ORDER BY full_name
"""
_NAMES = "SELECT name, digest FROM tag WHERE repository = (SELECT id FROM repository WHERE full_name = ?)"
_LINKS = "SELECT digest FROM link WHERE repository = (SELECT id FROM repository WHERE full_name = ?)"
_CHILDREN = """
    SELECT manifest, child.digest FROM link JOIN child ON manifest = link.digest
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?)
"""


class SqliteReader:
    """The reads of an Index, over a connection to the file `path`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._reader = connection
        self._health = IndexHealth(path)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for reading, next to processes that write. Raise IndexFailedError, also if there is no file."""
        with closing(open_for_reading(path)) as connection:
            yield cls(path, connection)

    def link(self, source: Source, digest: Digest) -> Link | None:
        row = self._row(_LINK, str(source), to_key(digest))
        return Link(digest, *row) if row else None

    def is_confirmed(self, registry: str, digest: Digest) -> bool:
        return bool(self._rows(_CONFIRMED, to_key(digest), registry))

    def tag(self, source: Source, name: str) -> TagRecord | None:
        row = self._row(_TAG, str(source), name)
        return TagRecord(from_key(row[0]), row[1]) if row else None

    def content(self, digest: Digest) -> Content | None:
        row = self._row("SELECT size, media_type, used_at FROM content WHERE digest = ?", to_key(digest))
        return Content(digest, *row) if row else None

    def tags(self, source: Source) -> list[str]:
        return [name for (name,) in self._rows(_TAGS, str(source))]

    def tags_of(self, source: Source, digest: Digest) -> list[str]:
        return [name for (name,) in self._rows(_TAGS_OF, str(source), to_key(digest))]

    def repositories(self, registry: str | None, after: str, limit: int) -> list[Source]:
        return [to_source(*row) for row in self._rows(_REPOSITORIES, after, registry, limit)]

    def used_bytes(self) -> int:
        (used,) = self._rows(_USED_BYTES)[0]
        return int(used)

    def file_bytes(self) -> int:
        (size,) = self._rows(_FILE_BYTES)[0]
        return int(size)

    def least_recently_used(self, limit: int) -> list[Content]:
        query = "SELECT digest, size, media_type, used_at FROM content ORDER BY used_at LIMIT ?"
        return [Content(from_key(key), *rest) for key, *rest in self._rows(query, limit)]

    def reserved(self) -> dict[Digest, int]:
        return {from_key(key): size for key, size in self._rows("SELECT digest, size FROM reservation")}

    def delivery(self, digest: Digest) -> Delivery | None:
        row = self._row(_DELIVERY, to_key(digest))
        return Delivery(to_source(row[0].partition("/")[0], row[0]), row[1]) if row else None

    async def usage(self) -> list[RegistryUsage]:
        return [RegistryUsage(*row) for row in await SURVEYS.run(self._survey, _USAGE)]

    async def images(self, registry: str | None) -> list[Image]:
        return [
            Image(to_source(of, full_name), tag, from_key(key), size, checked_at, used_at)
            for of, full_name, tag, key, checked_at, used_at, size in await SURVEYS.run(
                self._survey, _IMAGES, registry
            )
        ]

    def holders(self, digest: Digest) -> list[Source]:
        return [to_source(*row) for row in self._rows(_HOLDERS, to_key(digest))]

    def holdings(self, source: Source) -> Holdings:
        of = str(source)
        names = {name: from_key(key) for name, key in self._rows(_NAMES, of)}
        links = {from_key(key) for (key,) in self._rows(_LINKS, of)}
        children: dict[Digest, set[Digest]] = {}
        for manifest, child in self._rows(_CHILDREN, of):
            children.setdefault(from_key(manifest), set()).add(from_key(child))
        return Holdings(names, links, children)

    def counts(self) -> list[Count]:
        query = "SELECT registry, name, value, since FROM counter ORDER BY registry, name"
        return [Count(*row) for row in self._rows(query)]

    def outages(self) -> list[Outage]:
        query = "SELECT registry, since, retry_at, cause FROM outage ORDER BY registry"
        return [Outage(*row) for row in self._rows(query)]

    @property
    def removals(self) -> int:
        (removals,) = self._rows("SELECT removals FROM state")[0]
        return int(removals)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._health.note(error)
            raise IndexFailedError(f"can't read {self._path}: {error}") from error

    def _survey(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a long query. A separate connection keeps it from delaying reads of the event loop."""
        try:
            with closing(connect_reader(self._path)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise IndexFailedError(f"can't read {self._path}: {error}") from error

    def _row(self, query: str, *values: Any) -> Any | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None


class SqliteIndex(SqliteReader):
    """An Index in the file `path`, used by one thread. Raise IndexFailedError if it can't be opened.

    With `replace`, the file is replaced also if no damage is found, unless another process uses it.
    """

    def __init__(self, path: Path, check: IndexCheck = IndexCheck.FULL) -> None:
        self._database = open_database(path, check)
        super().__init__(path, self._database.reader)
        self._writer = BatchingWriter(
            self._database.writer, str(path), self._database.ballast.release, self._health.note
        )
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

    async def withdraw(self, source: Source, before: float, after: float) -> None:
        await self._writer.write(partial(writes.withdraw, source=source, before=before, after=after))

    async def drop_tag(self, source: Source, tag: str) -> None:
        await self._writer.write(partial(writes.drop_tag, source=source, tag=tag))

    async def drop_link(self, source: Source, digest: Digest) -> None:
        await self._writer.write(partial(writes.drop_link, source=source, digest=digest))

    async def remove(self, source: Source, removal: Removal) -> list[Digest]:
        return await self._writer.write(partial(writes.remove, source=source, removal=removal))

    async def reserve(self, digest: Digest, size: int, now: float, source: Source | None = None) -> None:
        await self._writer.write(partial(writes.reserve, digest=digest, size=size, now=now, source=source))

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

    async def collect(self, before: float, after: int) -> int | None:
        return await self._writer.write(partial(writes.collect, before=before, after=after))

    async def limit_access_times(self, now: float) -> None:
        await self._writer.write(partial(writes.limit_access_times, now=now))

    async def touch(self, access_times: Mapping[Digest, float]) -> None:
        await self._writer.write(partial(writes.touch, access_times=dict(access_times)))

    async def count(self, counts: Mapping[tuple[str, str], int], now: float) -> None:
        await self._writer.write(partial(writes.count, counts=dict(counts), now=now))

    def failure(self) -> str | None:
        return self._health.failure()

    async def begin_outage(self, registry: str, since: float, retry_at: float, cause: str) -> bool:
        outage = Outage(registry, since, retry_at, cause)
        return await self._writer.write(partial(writes.begin_outage, outage=outage))

    async def end_outage(self, registry: str) -> float | None:
        return await self._writer.write(partial(writes.end_outage, registry=registry))

    async def close(self) -> None:
        await self._writer.close()
        self._database.close()
