"""Fixtures of the upstream tests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.clock import ManualClock
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import HASTY, Connector, stored

from registry_proxy.aio.tasks import background_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.oci.reference import Digest
    from registry_proxy.upstream.upstream import RegistryUpstream


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def background() -> AsyncIterator[BackgroundTasks]:
    async with background_tasks() as background:
        yield background


@pytest.fixture
async def connect(clock: ManualClock, background: BackgroundTasks) -> AsyncIterator[Connector]:
    connector = Connector(clock, background)
    async with connector.stack:
        yield connector


@pytest.fixture
def image() -> images.Image:
    return images.image(layer_size=300_000)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that is listened on, by somebody who never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
async def plain() -> AsyncIterator[SimulatedUpstream]:
    async with SimulatedUpstream("plain") as simulated:
        yield simulated


@pytest.fixture
async def hub() -> AsyncIterator[SimulatedUpstream]:
    async with SimulatedUpstream("dockerhub") as simulated:
        yield simulated


@pytest.fixture
def layer(plain: SimulatedUpstream, image: images.Image) -> Digest:
    return stored(plain, image)


@pytest.fixture
async def upstream(connect: Connector, plain: SimulatedUpstream, layer: Digest) -> RegistryUpstream:
    """A client of `plain`, which holds the image, with little patience."""
    return connect(plain.url, timeouts=HASTY)
