"""Marks for all tests (see `tests/kit/needs.py`), their order, and Hypothesis on slow machines."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from tests.kit.needs import MACHINE, PROGRAM, needs_of

# How long an example takes says nothing where other suites run at the same time.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs, and put modules of long tests first.

    Two processes then end at the same time: what is left for the end is short.
    """
    weights: dict[str, int] = {}
    for item in items:
        needs = needs_of(item) if isinstance(item, pytest.Function) else set()
        for need in needs:
            item.add_marker(need)
        module = _module(item)
        weights[module] = max(weights.get(module, 0), 2 * (MACHINE in needs) + (PROGRAM in needs))
    items.sort(key=lambda item: -weights[_module(item)])


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
