"""Manifests and the lists of a repository: fresh, revalidated, or stale."""
