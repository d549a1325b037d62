"""Selection of the content to evict when the disk budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from registry_proxy.oci.reference import Digest

# Evict a little more than needed, so that not every pull causes an eviction.
LOW_WATERMARK = 0.95
# An index of up to this many bytes does not count towards the budget: that of some thousand images.
SMALL_INDEX = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """Content that may be evicted: its digest and its size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Excess:
    """Bytes to evict at least (`needed`), and preferably (`target`). `target` is never smaller than `needed`."""

    needed: int
    target: int


def excess(used: int, wanted: int, budget: int) -> Excess:
    """Return the bytes to evict so that `wanted` more bytes fit: none within the budget, else to the low watermark."""
    needed = used + wanted - budget
    if needed <= 0:
        return Excess(0, 0)
    return Excess(needed, used + wanted - min(budget, max(int(budget * LOW_WATERMARK), wanted)))


def counted_index(size: int) -> int:
    """Return the bytes of an index of `size` bytes that count towards the budget."""
    return max(0, size - SMALL_INDEX)


def select_victims(
    candidates: Iterable[Candidate], to_free: int, leased: Container[Digest]
) -> tuple[list[Candidate], int]:
    """Return the first `candidates` that together free `to_free` bytes, without leased ones, and the bytes they free.

    `candidates` are ordered by access time, the least recently used first.
    """
    victims: list[Candidate] = []
    freed = 0
    for candidate in candidates:
        if freed >= to_free:
            break
        if candidate.digest not in leased:
            victims.append(candidate)
            freed += candidate.size
    return victims, freed
