"""Fixtures of the upstream tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.clock import ManualClock
from tests.upstream.connecting import Connector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def connect(clock: ManualClock) -> AsyncIterator[Connector]:
    connector = Connector(clock)
    async with connector.stack:
        yield connector


@pytest.fixture
def image() -> images.Image:
    return images.image(layer_size=300_000)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()
