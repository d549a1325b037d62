"""Counters in a worker's memory, by registry and name."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from registry_proxy.observe.observer import LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping

# Counters next to those of responses by result: bytes sent to clients, and bytes received from upstreams.
SERVED = "served"
FETCHED = "fetched"
# The registry of error responses that were sent before the registry was known.
NO_REGISTRY = ""


class Counters:
    """An `Observer` that counts. LOCAL responses are not counted: they do not concern the cache."""

    def __init__(self) -> None:
        self._registries: defaultdict[str, defaultdict[str, int]] = _new()

    def answered(self, registry: str | None, result: str, status: int, size: int = 0) -> None:
        """Count a response by its result, and the `size` bytes of content sent with it."""
        if result != LOCAL:
            counts = self._registries[registry or NO_REGISTRY]
            counts[result] += 1
            if status < 400:
                counts[SERVED] += size

    def sent(self, registry: str | None, size: int) -> None:
        """Count bytes sent to a client."""
        self._registries[registry or NO_REGISTRY][SERVED] += size

    def fetched(self, registry: str, size: int) -> None:
        """Count bytes received from an upstream."""
        self._registries[registry][FETCHED] += size

    def take(self) -> dict[tuple[str, str], int]:
        """Return the counts since the last call by registry and name, without zeros."""
        taken, self._registries = self._registries, _new()
        return {
            (registry, name): value
            for registry, counts in taken.items()
            for name, value in counts.items()
            if value
        }

    def restore(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Restore counts that `take` returned and that could not be written."""
        for (registry, name), value in counts.items():
            self._registries[registry][name] += value


def _new() -> defaultdict[str, defaultdict[str, int]]:
    # Not collections.Counter: its increments take twice the time, at every hit.
    return defaultdict(lambda: defaultdict(int))
