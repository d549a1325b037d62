"""The composition root: the only place that names concrete adapters, and the processes that run them."""

from registry_proxy.service.supervisor import run

__all__ = ["run"]
