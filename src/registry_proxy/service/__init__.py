"""The composition root: the only package that uses concrete adapters, and the processes that run them."""

from registry_proxy.service.supervisor import run

__all__ = ["run"]
