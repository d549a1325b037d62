"""One sealed network with the five registries a module, and one server for what needs none of its own."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import PullingSkopeo
from tests.e2e.program import RegistryProxy
from tests.kit.certificates import Authority
from tests.kit.profiles import FIVE
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    with SealedNetwork(tmp_path_factory.mktemp("network"), authority) as network:
        yield network


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    names = [each.name for each in FIVE]
    folder = tmp_path_factory.mktemp("upstreams")
    with Simulators(names, folder, runner=network, authority=authority, real_names=True) as upstreams:
        yield upstreams


@pytest.fixture(autouse=True)
def _unburdened(upstreams: Simulators) -> None:
    """No test sees another one's requests or faults."""
    for each in FIVE:
        upstreams[each.name].clear()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, upstreams: Simulators
) -> Iterator[RegistryProxy]:
    with RegistryProxy(network, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def skopeo(network: SealedNetwork) -> Iterator[PullingSkopeo]:
    with PullingSkopeo(network) as skopeo:
        yield skopeo


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number of each test's own, for images that no other test has had cached."""
    return zlib.crc32(request.node.nodeid.encode())
