"""Reads of the index's file.

They run in the calling thread, on a separate connection: a point read takes less time than passing it to a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

from registry_proxy.index.base import Content, Count, Image, IndexFailedError, Link, RegistryUsage, TagRecord
from registry_proxy.index.database import connect_reader, open_for_reading
from registry_proxy.index.values import from_key, to_key, to_source
from registry_proxy.policy.removal import Holdings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Source

_LINK = """
    SELECT size, confirmed_at FROM link
    WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND digest = ?
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
# Tags, and manifests without a reference in their repository: pulled by digest, or left behind by a changed tag.
_IMAGES = """
    WITH image (repository, name, digest, checked_at) AS (
        SELECT repository, name, digest, checked_at FROM tag WHERE instr(name, ':') = 0
        UNION ALL
        SELECT repository, NULL, digest, confirmed_at FROM link AS mine JOIN content USING (digest)
        WHERE media_type IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM tag WHERE repository = mine.repository AND digest = mine.digest)
        AND NOT EXISTS (
            SELECT 1 FROM child JOIN link AS parent ON parent.digest = child.manifest
            WHERE child.digest = mine.digest AND parent.repository = mine.repository
        )
    )
    SELECT registry, full_name, image.name, image.digest, checked_at, content.used_at, (
        WITH RECURSIVE part (digest) AS (
            SELECT image.digest UNION SELECT child.digest FROM part JOIN child ON child.manifest = part.digest
        ) SELECT coalesce(sum(size), 0) FROM part JOIN content USING (digest)
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

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for reading, next to processes that write. Raise IndexFailedError, also if there is no file."""
        with closing(open_for_reading(path)) as connection:
            yield cls(path, connection)

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

    def least_recently_used(self, limit: int) -> list[Content]:
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

    @property
    def removals(self) -> int:
        (removals,) = self._rows("SELECT removals FROM state")[0]
        return int(removals)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
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
