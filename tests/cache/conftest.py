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
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    assert not [record.getMessage() for record in records if _tells_of_a_defect(record)]


def _tells_of_a_defect(record: logging.LogRecord) -> bool:
    is_from_loop = record.name == "asyncio" and record.levelno >= logging.WARNING
    return is_from_loop or "report this" in record.getMessage()
