"""The HTTP server: connections, routing, and responses in the registry's form."""
