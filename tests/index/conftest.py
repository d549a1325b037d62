from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.index.sqlite import SqliteIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The index's file."""
    return tmp_path / "index.db"


@pytest.fixture
async def index(path: Path) -> AsyncIterator[SqliteIndex]:
    index = SqliteIndex(path)
    yield index
    await index.close()
