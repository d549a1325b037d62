"""One remote registry: its requests, its authentication, its ways."""
