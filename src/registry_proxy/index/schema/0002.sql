-- Counters of the workers, by registry: responses by their outcome, and bytes. `since` is the time of the first one.
CREATE TABLE counter (
    registry TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    INTEGER NOT NULL,
    since    REAL NOT NULL,
    PRIMARY KEY (registry, name)
) STRICT, WITHOUT ROWID;

-- Finds the manifests that need a digest.
CREATE INDEX child_by_digest ON child (digest);

-- Number of removals on demand. A process that keeps content in memory drops it when this changes.
ALTER TABLE state ADD COLUMN removals INTEGER NOT NULL DEFAULT 0;
