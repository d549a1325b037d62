-- What the workers counted, by registry: answers by how they came about, and bytes. `since` is when the first one came.
CREATE TABLE counter (
    registry TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    INTEGER NOT NULL,
    since    REAL NOT NULL,
    PRIMARY KEY (registry, name)
) STRICT, WITHOUT ROWID;

-- Which manifests need a digest.
CREATE INDEX child_by_digest ON child (digest);

-- How often content was removed on demand: who keeps some in memory forgets it then.
ALTER TABLE state ADD COLUMN removals INTEGER NOT NULL DEFAULT 0;
