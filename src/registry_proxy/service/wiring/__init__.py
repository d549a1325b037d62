"""Wiring: construction of upstreams, the access gate and certificates from the settings."""
