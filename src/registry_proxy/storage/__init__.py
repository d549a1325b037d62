"""The blob store: one file per digest, and one for each ingest in progress."""
