-- Registries that fail, as the workers see it. `retry_at` is the time of the next attempt.
CREATE TABLE outage (
    registry TEXT PRIMARY KEY,
    since    REAL NOT NULL,
    retry_at REAL NOT NULL,
    cause    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
