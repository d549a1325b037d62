from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.index.indexes import KINDS, address_of, open_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from registry_proxy.index.base import Index


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an index of each kind, which does not exist yet."""
    return address_of(request.param, tmp_path)


@pytest.fixture
async def index(address: str) -> AsyncIterator[Index]:
    """An empty index of each kind."""
    index = open_index(address)
    yield index
    await index.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of an SQLite index."""
    return tmp_path / "index.db"
