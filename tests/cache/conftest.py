from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A machine with one plain upstream."""
    async with Site(tmp_path / "store") as site:
        (tmp_path / "store").mkdir()
        await site.simulate()
        yield site


@pytest.fixture(autouse=True)
def no_defects(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be logged that only a defect of our own explains."""
    with caplog.at_level(logging.DEBUG, "registry_proxy"):
        yield
    reports = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    defects = [record.getMessage() for record in reports if "report this" in record.getMessage()]
    assert not defects
