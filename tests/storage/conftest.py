from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.storage.stores import KINDS, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.storage.base import BlobStore


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind, empty, as an address for several openers."""
    return f"{request.param}:{tmp_path / 'store'}"


@pytest.fixture
def store(address: str) -> BlobStore:
    return open_store(address)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a store."""
    return tmp_path / "files"
