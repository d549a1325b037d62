from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.kit.certificates import Authority
from tests.kit.remote import Simulators
from tests.status.server import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream

OTHERS = ("ghcr", "quay", "gcr", "k8s")


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    with Simulators(["dockerhub"], tmp_path_factory.mktemp("upstreams")) as simulators:
        yield simulators


@pytest.fixture
def hub(simulators: Simulators) -> RemoteUpstream:
    hub = simulators["dockerhub"]
    hub.clear()
    return hub


@pytest.fixture
def site(tmp_path: Path, hub: RemoteUpstream) -> Site:
    """A server of Docker Hub alone."""
    off = {f"{name}_enabled": "false" for name in OTHERS}
    return Site(tmp_path, hub.url, server_workers="1", **off)
