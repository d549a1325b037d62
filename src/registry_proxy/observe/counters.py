"""What a worker counts of its answers, as plain numbers in memory: one thread, no locks, nothing written.

They are added to the index now and then (`maintenance/counting.py`), where `registry-proxy status` reads them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is counted beside answers by how they came about: the bytes that clients were sent, and that upstreams sent.
SERVED = "served"
FETCHED = "fetched"
HIT = "hit"


class Tally:
    """What was counted of one registry since it was last taken. Slots for what is counted at every hit."""

    __slots__ = ("_others", "fetched", "hits", "served")

    def __init__(self) -> None:
        self.hits = 0
        self.served = 0
        self.fetched = 0
        self._others: Counter[str] = Counter()

    def count(self, name: str, value: int = 1) -> None:
        """Count an answer by how it came about, or so many bytes."""
        match name:
            case "hit":
                self.hits += value
            case "served":
                self.served += value
            case "fetched":
                self.fetched += value
            case _:
                self._others[name] += value

    def receive(self, size: int) -> None:
        """So many bytes have come from upstream."""
        self.fetched += size

    def take(self) -> Counter[str]:
        """All that was counted, but for zeros; the count begins anew."""
        taken = self._others + Counter({HIT: self.hits, SERVED: self.served, FETCHED: self.fetched})
        self._others.clear()
        self.hits = self.served = self.fetched = 0
        return taken


class Counters:
    """The tallies of all registries, by their name in image names."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def of(self, registry: str) -> Tally:
        """The registry's tally: the same object at each call."""
        return self._tallies.setdefault(registry, Tally())

    def take(self) -> dict[tuple[str, str], int]:
        """What was counted since the last call, by registry and name."""
        taken = {registry: tally.take() for registry, tally in self._tallies.items()}
        return {
            (registry, name): value for registry, counts in taken.items() for name, value in counts.items()
        }

    def put_back(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add what was taken and could not be written."""
        for (registry, name), value in counts.items():
            self.of(registry).count(name, value)
