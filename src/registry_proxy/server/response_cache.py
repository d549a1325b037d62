"""Answers that can be given again at once: no parsing, no look-up, no waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_proxy.observe.counters import Tally
    from registry_proxy.oci.digest import Digest

# All of it is dropped when this is reached: building it anew costs a few µs an answer.
DEFAULT_CAPACITY = 8 * 1024 * 1024
_ENTRY_OVERHEAD = 1024


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A manifest's answer, good until `fresh_until` (Unix seconds). `head` ends before the `Date` line.

    Who sends it counts it in `tally`.
    """

    head: bytes
    body: bytes
    digest: Digest
    registry: str
    fresh_until: float
    tally: Tally


class ResponseCache:
    """Prepared answers by the `Host` and the target of the request, up to `capacity` bytes."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._prepared: dict[tuple[str, str], CachedResponse] = {}

    def get(self, host: str, target: str, now: float) -> CachedResponse | None:
        """The answer, if it is still good."""
        prepared = self._prepared.get((host, target))
        return prepared if prepared is not None and now < prepared.fresh_until else None

    def put(self, host: str, target: str, prepared: CachedResponse) -> None:
        """Keep an answer."""
        if self._bytes > self._capacity:
            self.clear()
        self._prepared[host, target] = prepared
        # Host and target are the client's to choose, and can be longer than the answer.
        self._bytes += len(host) + len(target) + len(prepared.head) + len(prepared.body) + _ENTRY_OVERHEAD

    def clear(self) -> None:
        """Forget all, as after a change of the configuration."""
        self._prepared.clear()
        self._bytes = 0
