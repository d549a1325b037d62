-- The repository (registry/name) whose upstream delivers the bytes of the reservation, NULL for other content.
ALTER TABLE reservation ADD COLUMN source TEXT;
