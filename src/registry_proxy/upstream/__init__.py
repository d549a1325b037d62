"""Upstream registries: requests, authentication, and the settings of well-known ones."""
