"""Blobs: from the store, from a fill in progress, or from a new fill."""
