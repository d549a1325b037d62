"""The request path: serve from the store, fetch from upstream, fall back when upstream fails."""
