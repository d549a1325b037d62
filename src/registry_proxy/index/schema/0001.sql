-- Digests are their bytes: 32 for sha256, 64 for sha512. Times are Unix seconds, sizes are bytes.

CREATE TABLE repository (
    id        INTEGER PRIMARY KEY,
    full_name TEXT NOT NULL UNIQUE,  -- registry/name
    registry  TEXT NOT NULL
) STRICT;
CREATE INDEX repository_by_registry ON repository (registry, full_name);

CREATE TABLE link (
    repository   INTEGER NOT NULL REFERENCES repository (id),
    digest       BLOB NOT NULL,
    size         INTEGER,
    confirmed_at REAL NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_by_digest ON link (digest);

CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository (id),
    name       TEXT NOT NULL,
    digest     BLOB NOT NULL,
    checked_at REAL NOT NULL,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE content (
    digest     BLOB PRIMARY KEY,
    size       INTEGER NOT NULL,
    media_type TEXT,
    used_at    REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX content_by_use ON content (used_at);

-- The children of manifests, for the sizes of images.
CREATE TABLE child (
    manifest BLOB NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (manifest, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation (
    digest      BLOB PRIMARY KEY,
    size        INTEGER NOT NULL,
    reserved_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. The triggers maintain content_bytes, since a sum over all content is too slow for each reservation.
-- scanned: the store was scanned for content that is older than this file.
CREATE TABLE state (
    content_bytes INTEGER NOT NULL,
    scanned       INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (0, 0);

CREATE TRIGGER content_added AFTER INSERT ON content BEGIN
    UPDATE state SET content_bytes = content_bytes + new.size;
END;
CREATE TRIGGER content_resized AFTER UPDATE OF size ON content WHEN new.size <> old.size BEGIN
    UPDATE state SET content_bytes = content_bytes + new.size - old.size;
END;
CREATE TRIGGER content_removed AFTER DELETE ON content BEGIN
    UPDATE state SET content_bytes = content_bytes - old.size;
END;
