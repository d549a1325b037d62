"""An HTTP request, as far as a registry needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """One request without its body, which no read of a registry has. Header names are in lower case."""

    method: str
    target: str
    host: str
    headers: dict[str, str]
    keep_alive: bool

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"
