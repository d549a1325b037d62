"""The composition root: construction of the server from its adapters, and the processes that run it."""

from registry_proxy.service.supervisor import run

__all__ = ["run"]
