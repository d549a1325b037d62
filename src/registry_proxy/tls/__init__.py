"""Certificates: own files or an ACME server's, found by host name, renewed and reloaded under running connections."""
