"""The writes. The caller runs them in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.index.base import MAX_CHILDREN, Link
from registry_proxy.index.values import to_key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from registry_proxy.index.base import Outage
    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.policy.removal import Removal

_PUT_CONTENT = """
    INSERT INTO content (digest, size, media_type, used_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET size = excluded.size, media_type = coalesce(excluded.media_type, media_type),
        used_at = max(excluded.used_at, used_at)
"""
_PUT_LINK = """
    INSERT INTO link (repository, digest, size, confirmed_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET size = coalesce(excluded.size, size), confirmed_at = excluded.confirmed_at
"""
# A manifest names the digest, which the registry has not confirmed by that. Known confirmations stay as they are.
_PUT_MENTION = """
    INSERT INTO link (repository, digest, size, confirmed_at) VALUES (?, ?, ?, 0)
    ON CONFLICT DO UPDATE SET size = coalesce(excluded.size, size)
"""
_PUT_TAG = """
    INSERT INTO tag (repository, name, digest, checked_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at
"""
# Known content keeps its access time.
_ADOPT = """
    INSERT INTO content (digest, size, used_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size
"""
_RESERVE = """
    INSERT INTO reservation (digest, size, reserved_at, source) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET size = excluded.size, reserved_at = excluded.reserved_at, source = excluded.source
"""
# From another cache. A later confirmation takes precedence, and so does a tag that was checked with upstream.
_IMPORT_LINK = """
    INSERT INTO link (repository, digest, size, confirmed_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET size = coalesce(size, excluded.size),
        confirmed_at = max(excluded.confirmed_at, confirmed_at)
"""
_IMPORT_TAG = """
    INSERT INTO tag (repository, name, digest, checked_at) VALUES (?, ?, ?, 0)
    ON CONFLICT DO UPDATE SET digest = excluded.digest WHERE checked_at = 0
"""
_PUT_CHILD = "INSERT INTO child VALUES (?, ?) ON CONFLICT DO NOTHING"
# A stored manifest mentions the digest: its link has the size, for HEAD and for headers before the upstream responds.
_COLLECT_LINKS = """
    DELETE FROM link WHERE repository > ? AND repository <= ? AND confirmed_at < ?
    AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = link.digest)
    AND NOT EXISTS (
        SELECT 1 FROM child JOIN content ON content.digest = child.manifest WHERE child.digest = link.digest
    )
"""
_COLLECT_TAGS = """
    DELETE FROM tag WHERE repository > ? AND repository <= ? AND checked_at < ?
    AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = tag.digest)
"""
_COLLECT_REPOSITORIES = """
    DELETE FROM repository WHERE id > ? AND id <= ?
    AND NOT EXISTS (SELECT 1 FROM link WHERE repository = id)
    AND NOT EXISTS (SELECT 1 FROM tag WHERE repository = id)
"""
# Repositories per step of a collection.
_COLLECT_STEP = 100
_PUT_OUTAGE = """
    INSERT INTO outage (registry, since, retry_at, cause) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET retry_at = excluded.retry_at, cause = excluded.cause
"""
_COUNT = """
    INSERT INTO counter (registry, name, value, since) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = value + excluded.value
"""


def record_manifest(
    db: sqlite3.Connection, source: Source, manifest: Manifest, tag: str | None, now: float
) -> None:
    repository = _repository(db, source)
    key, size = to_key(manifest.digest), len(manifest.raw)
    children = {to_key(child.digest): child.size for child in manifest.children[:MAX_CHILDREN]}
    db.execute(_PUT_CONTENT, (key, size, manifest.media_type, now))
    db.executemany(_PUT_MENTION, [(repository, child, of) for child, of in children.items()])
    db.execute(_PUT_LINK, (repository, key, size, now))
    db.executemany(_PUT_CHILD, [(key, child) for child in children])
    if tag is not None:
        db.execute(_PUT_TAG, (repository, tag, key, now))
    release(db, manifest.digest)


def record_blob(db: sqlite3.Connection, source: Source, descriptor: Descriptor, now: float) -> None:
    db.execute(_PUT_CONTENT, (to_key(descriptor.digest), descriptor.size, None, now))
    record_link(db, source, descriptor.digest, descriptor.size, now)
    release(db, descriptor.digest)


def record_link(db: sqlite3.Connection, source: Source, digest: Digest, size: int | None, now: float) -> None:
    db.execute(_PUT_LINK, (_repository(db, source), to_key(digest), size, now))


def refresh_tag(db: sqlite3.Connection, source: Source, tag: str, digest: Digest, now: float) -> None:
    repository = _repository(db, source)
    db.execute(_PUT_TAG, (repository, tag, to_key(digest), now))
    db.execute(_PUT_LINK, (repository, to_key(digest), None, now))


def withdraw(db: sqlite3.Connection, source: Source, before: float, after: float) -> None:
    db.execute(
        "UPDATE link SET confirmed_at = 0 WHERE (confirmed_at <= ? OR confirmed_at > ?)"
        " AND repository = (SELECT id FROM repository WHERE full_name = ?)",
        (before, after, str(source)),
    )


def drop_tag(db: sqlite3.Connection, source: Source, tag: str) -> None:
    db.execute(
        "DELETE FROM tag WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND name = ?",
        (str(source), tag),
    )


def drop_link(db: sqlite3.Connection, source: Source, digest: Digest) -> None:
    db.execute(
        "DELETE FROM link WHERE repository = (SELECT id FROM repository WHERE full_name = ?) AND digest = ?",
        (str(source), to_key(digest)),
    )


def remove(db: sqlite3.Connection, source: Source, removal: Removal) -> list[Digest]:
    for name in removal.names:
        drop_tag(db, source, name)
    for digest in removal.digests:
        drop_link(db, source, digest)
    held = "SELECT 1 FROM link WHERE digest = ?"
    orphans = [digest for digest in removal.digests if not db.execute(held, (to_key(digest),)).fetchone()]
    forget(db, orphans)
    db.execute("UPDATE state SET removals = removals + 1")
    return orphans


def reserve(db: sqlite3.Connection, digest: Digest, size: int, now: float, source: Source | None) -> None:
    db.execute(_RESERVE, (to_key(digest), size, now, str(source) if source else None))


def release(db: sqlite3.Connection, digest: Digest) -> None:
    db.execute("DELETE FROM reservation WHERE digest = ?", (to_key(digest),))


def forget(db: sqlite3.Connection, digests: Iterable[Digest]) -> None:
    keys = [(to_key(digest),) for digest in digests]
    db.executemany("DELETE FROM content WHERE digest = ?", keys)
    db.executemany("DELETE FROM link WHERE digest = ?", keys)
    db.executemany("DELETE FROM child WHERE manifest = ?", keys)


def adopt(db: sqlite3.Connection, contents: Iterable[tuple[Digest, int]], now: float) -> None:
    db.executemany(_ADOPT, [(to_key(digest), size, now) for digest, size in contents])


def import_manifest(
    db: sqlite3.Connection, source: Source, manifest: Manifest, tags: Iterable[str], confirmed_at: float
) -> None:
    key = to_key(manifest.digest)
    db.execute(
        "UPDATE content SET media_type = coalesce(media_type, ?) WHERE digest = ?", (manifest.media_type, key)
    )
    children = manifest.children[:MAX_CHILDREN]
    db.executemany(_PUT_CHILD, [(key, to_key(child.digest)) for child in children])
    mentions = [Link(child.digest, child.size, 0.0) for child in children]
    import_links(db, source, [*mentions, Link(manifest.digest, len(manifest.raw), confirmed_at)])
    repository = _repository(db, source)
    db.executemany(_IMPORT_TAG, [(repository, tag, key) for tag in tags])


def import_links(db: sqlite3.Connection, source: Source, links: Iterable[Link]) -> None:
    repository = _repository(db, source)
    db.executemany(
        _IMPORT_LINK, [(repository, to_key(link.digest), link.size, link.confirmed_at) for link in links]
    )


def end_scan(db: sqlite3.Connection) -> None:
    db.execute("UPDATE state SET scanned = 1")


def collect(db: sqlite3.Connection, before: float, after: int) -> int | None:
    step = "SELECT id FROM repository WHERE id > ? ORDER BY id LIMIT ?"
    repositories = db.execute(step, (after, _COLLECT_STEP)).fetchall()
    if not repositories:
        return None
    (last,) = repositories[-1]
    db.execute(_COLLECT_LINKS, (after, last, before))
    db.execute(_COLLECT_TAGS, (after, last, before))
    db.execute(_COLLECT_REPOSITORIES, (after, last))
    return int(last)


def limit_access_times(db: sqlite3.Connection, now: float) -> None:
    db.execute("UPDATE content SET used_at = ? WHERE used_at > ?", (now, now))


def touch(db: sqlite3.Connection, access_times: Mapping[Digest, float]) -> None:
    rows = [(at, to_key(digest), at) for digest, at in access_times.items()]
    db.executemany("UPDATE content SET used_at = ? WHERE digest = ? AND used_at < ?", rows)


def count(db: sqlite3.Connection, counts: Mapping[tuple[str, str], int], now: float) -> None:
    db.executemany(_COUNT, [(*key, value, now) for key, value in counts.items()])


def begin_outage(db: sqlite3.Connection, outage: Outage) -> bool:
    is_new = db.execute("SELECT 1 FROM outage WHERE registry = ?", (outage.registry,)).fetchone() is None
    db.execute(_PUT_OUTAGE, (outage.registry, outage.since, outage.retry_at, outage.cause))
    return is_new


def end_outage(db: sqlite3.Connection, registry: str) -> float | None:
    row = db.execute("DELETE FROM outage WHERE registry = ? RETURNING since", (registry,)).fetchone()
    return float(row[0]) if row else None


def _repository(db: sqlite3.Connection, source: Source) -> int:
    """Return the repository's id. Add the repository if it is new."""
    row = db.execute("SELECT id FROM repository WHERE full_name = ?", (str(source),)).fetchone()
    if row is None:
        row = db.execute(
            "INSERT INTO repository (full_name, registry) VALUES (?, ?) RETURNING id",
            (str(source), source.registry),
        ).fetchone()
    return int(row[0])
