"""Which content makes way when the disk budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from registry_proxy.oci.digest import Digest

# Evicting a little more than needed keeps it from happening at every pull.
LOW_WATERMARK = 0.95


@dataclass(frozen=True, slots=True)
class Candidate:
    """Content that might go: its digest and its size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Excess:
    """How many bytes have to go, and how many should, since that costs little more. `wished` is never the smaller."""

    needed: int
    wished: int


def excess(used: int, wanted: int, budget: int) -> Excess:
    """What is in the way of `wanted` more bytes: nothing within the budget, else what is above the low watermark."""
    needed = used + wanted - budget
    if needed <= 0:
        return Excess(0, 0)
    return Excess(needed, used + wanted - min(budget, max(int(budget * LOW_WATERMARK), wanted)))


def select_victims(
    coldest_first: Iterable[Candidate], to_free: int, leased: Container[Digest]
) -> tuple[list[Candidate], int]:
    """The coldest content that frees `to_free` bytes, leased content excepted, and the bytes it frees."""
    victims: list[Candidate] = []
    freed = 0
    for candidate in coldest_first:
        if freed >= to_free:
            break
        if candidate.digest not in leased:
            victims.append(candidate)
            freed += candidate.size
    return victims, freed
