"""TLS: certificates from files or a CA, selected by host name, and replaced without dropping connections."""
