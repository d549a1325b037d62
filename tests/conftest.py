"""Marks for all tests; see `tests/kit/needs.py`."""

from __future__ import annotations

import pytest
from tests.kit.needs import needs_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs."""
    for item in items:
        if isinstance(item, pytest.Function):
            for need in needs_of(item):
                item.add_marker(need)
