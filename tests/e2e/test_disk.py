"""A disk that is too small or full: clients get everything, verified, and the server lives on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT, PullingSkopeo, check_pulled
from tests.e2e.places import GCR
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.images import Image
    from tests.kit.remote import RemoteUpstream, Simulators
    from tests.kit.sealed import SealedNetwork

MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path, network: SealedNetwork, upstreams: Simulators) -> Iterator[RegistryProxy]:
    """A server whose store is on a disk of 64 MiB."""
    store = tmp_path / "store"
    store.mkdir()
    run(network, ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(store)])
    with RegistryProxy(network, tmp_path) as server:
        yield server


class Gcr:
    """The registry, and what was pushed there, each image with other content."""

    def __init__(self, upstream: RemoteUpstream, seed: int) -> None:
        self.upstream = upstream
        self._seeds = itertools.count(seed)

    def push(self, name: str, size: int) -> Image:
        image = images.image(layers=1, layer_size=size, seed=next(self._seeds))
        self.upstream.push(GCR.repository(name), image, "v1")
        return image


@pytest.fixture
def gcr(upstreams: Simulators, seed: int) -> Gcr:
    return Gcr(upstreams["gcr"], seed)


def pull(skopeo: PullingSkopeo, name: str, image: Image) -> None:
    check_pulled(skopeo.copy(f"{GCR.cached(name)}:v1", tls_verify=False), image)


@pytest.mark.parametrize("kind", DIRECT)
def test_image_that_is_larger_than_the_disk_is_passed_through(
    kind: str, network: SealedNetwork, server: RegistryProxy, gcr: Gcr, skopeo: PullingSkopeo
) -> None:
    workers = server.workers()
    small, large = gcr.push("small", MIB), gcr.push("large", 80 * MIB)
    pull(skopeo, "small", small)
    with DIRECT[kind](network) as client:
        client.pull(f"{GCR.cached('large')}:v1")
    gcr.upstream.clear()
    pull(skopeo, "small", small)
    assert gcr.upstream.requests == []
    pull(skopeo, "large", large)
    assert server.workers() == workers
    assert not server.ingest(large.layers[0].digest).exists()


def test_full_disk_makes_room_for_what_is_pulled_now(
    server: RegistryProxy, gcr: Gcr, skopeo: PullingSkopeo
) -> None:
    pushed = {name: gcr.push(name, 25 * MIB) for name in ("first", "second", "third")}
    for name, image in pushed.items():
        pull(skopeo, name, image)
    kept = [name for name, image in pushed.items() if server.blob(image.layers[0].digest).exists()]
    assert kept == ["second", "third"]
    gcr.upstream.clear()
    for name in kept:
        pull(skopeo, name, pushed[name])
    assert gcr.upstream.requests == []


def test_disk_without_a_free_byte_is_no_trouble(
    network: SealedNetwork, server: RegistryProxy, gcr: Gcr, skopeo: PullingSkopeo
) -> None:
    workers = server.workers()
    cached, other = gcr.push("cached", MIB), gcr.push("other", 8 * MIB)
    pull(skopeo, "cached", cached)
    ballast = server.store / "ballast"
    run(network, ["sh", "-c", f"cat /dev/zero > {ballast} 2>/dev/null || true"])
    for _ in range(2):
        gcr.upstream.clear()
        pull(skopeo, "other", other)
        assert gcr.upstream.transfers(other.layers[0].digest) > 0
    gcr.upstream.clear()
    pull(skopeo, "cached", cached)
    assert gcr.upstream.requests == []
    run(network, ["rm", str(ballast)])
    pull(skopeo, "other", other)
    gcr.upstream.clear()
    pull(skopeo, "other", other)
    assert gcr.upstream.requests == []
    assert server.workers() == workers
