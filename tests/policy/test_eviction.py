"""How much has to go, and what goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.reference import Digest
from registry_proxy.policy.eviction import (
    LOW_WATERMARK,
    SMALL_INDEX,
    Candidate,
    Excess,
    counted_index,
    excess,
    select_victims,
)

BYTES = st.integers(0, 10**15)


def candidates(*sizes: int) -> list[Candidate]:
    return [Candidate(Digest.of(bytes([number])), size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(("size", "counted"), [(0, 0), (SMALL_INDEX, 0), (SMALL_INDEX + 1, 1)])
def test_a_large_index_counts_towards_the_budget(size: int, counted: int) -> None:
    assert counted_index(size) == counted


@pytest.mark.parametrize(
    ("used", "wanted", "budget", "result"),
    [
        (0, 0, 100, Excess(0, 0)),
        (0, 100, 100, Excess(0, 0)),
        (60, 40, 100, Excess(0, 0)),
        (100, 0, 100, Excess(0, 0)),
        (60, 41, 100, Excess(1, 6)),
        (100, 10, 100, Excess(10, 15)),
        (120, 0, 100, Excess(20, 25)),
        # What is wanted is itself above the low watermark: nothing else stays.
        (50, 98, 100, Excess(48, 50)),
        (50, 100, 100, Excess(50, 50)),
    ],
)
def test_excess(used: int, wanted: int, budget: int, result: Excess) -> None:
    assert excess(used, wanted, budget) == result


@given(BYTES, BYTES, BYTES)
def test_what_is_left_fits_and_no_more_than_everything_goes(used: int, wanted: int, budget: int) -> None:
    surplus = excess(used, wanted, budget)
    assert 0 <= surplus.needed <= surplus.target
    assert used + wanted - surplus.needed <= budget
    if wanted <= budget:
        assert surplus.target <= used
    if surplus.needed and wanted <= budget * LOW_WATERMARK:
        assert used + wanted - surplus.target <= budget * LOW_WATERMARK


@pytest.mark.parametrize(
    ("sizes", "to_free", "leased", "chosen"),
    [
        ([], 10, [], []),
        ([5, 5, 5], 0, [], []),
        ([5, 5, 5], 1, [], [0]),
        ([5, 5, 5], 5, [], [0]),
        ([5, 5, 5], 6, [], [0, 1]),
        ([5, 5, 5], 99, [], [0, 1, 2]),
        ([5, 5, 5], 6, [0], [1, 2]),
        ([5, 5, 5], 6, [0, 1, 2], []),
        ([0, 5], 1, [], [0, 1]),
    ],
)
def test_victims(sizes: list[int], to_free: int, leased: list[int], chosen: list[int]) -> None:
    known = candidates(*sizes)
    victims, freed = select_victims(known, to_free, {known[number].digest for number in leased})
    assert victims == [known[number] for number in chosen]
    assert freed == sum(victim.size for victim in victims)


@given(st.lists(st.integers(0, 1000), max_size=50), st.integers(0, 20_000), st.sets(st.integers(0, 49)))
def test_the_coldest_go_and_no_leased_one_does(sizes: list[int], to_free: int, leased: set[int]) -> None:
    known = candidates(*sizes)
    kept = {candidate.digest for number, candidate in enumerate(known) if number in leased}
    victims, freed = select_victims(known, to_free, kept)
    free = [candidate for candidate in known if candidate.digest not in kept]
    assert victims == free[: len(victims)]
    assert freed >= to_free or victims == free
    assert freed - (victims[-1].size if victims else 0) < max(to_free, 1)
