from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.remote import RemoteUpstream, Simulators
from tests.service.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = images.image(layers=1, layer_size=8_000_000)


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    with Simulators(["plain", "basic"], tmp_path_factory.mktemp("simulators")) as simulators:
        for name in ("plain", "basic"):
            simulators[name].push("acme/app", IMAGE, "latest")
        yield simulators


@pytest.fixture
def upstream(simulators: Simulators) -> Iterator[RemoteUpstream]:
    upstream = simulators["plain"]
    upstream.clear()
    yield upstream
    upstream.clear()


@pytest.fixture
def program(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[Program]:
    """Two workers over the upstream, as the default registry."""
    settings = {"upstreams.sim": {"registry": "sim.test", "url": upstream.url}}
    with Program(tmp_path, settings) as program:
        yield program
