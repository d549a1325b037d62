"""Wiring: what the settings become, such as upstreams, the gate of clients, and certificates."""
