"""An HTTP request, as far as a registry needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_proxy.policy.access import Address


@dataclass(frozen=True, slots=True)
class Client:
    """The other end of a connection: its address, and the names in its certificate if TLS has verified one."""

    address: Address | None
    certificate_names: tuple[str, ...] = ()


@dataclass(slots=True)
class Request:
    """One request without its body, which no read of a registry has. Header names are in lower case."""

    method: str
    target: str
    host: str
    headers: dict[str, str]
    keep_alive: bool
    client: Client

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"
