"""What is cached is there, quickly, while no registry can be reached; what isn't has an error that says why."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT, MIRRORED, mirrored_skopeo
from tests.e2e.places import GHCR, HUB, PLACES
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.remote import Simulators
    from tests.kit.sealed import SealedNetwork

IMAGE = images.runnable_image(greeting="still here")
# Each tag is asked for upstream at each pull, so that each pull meets the outage.
SETTINGS = {"cache_tag_ttl": "0s"}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, upstreams: Simulators
) -> Iterator[RegistryProxy]:
    """A server that has cached the image from everywhere, while no registry can be reached any more."""
    with RegistryProxy(network, tmp_path_factory.mktemp("server"), **SETTINGS) as server:
        with mirrored_skopeo(network) as skopeo:
            for place in PLACES:
                upstreams[place.profile].push(place.repository("cached"), IMAGE, "v1")
                skopeo.pull(f"{place.image('cached')}:v1")
        with stopped(upstreams):
            yield server


@contextmanager
def stopped(upstreams: Simulators) -> Iterator[None]:
    for place in PLACES:
        upstreams[place.profile].stop()
    yield
    for place in PLACES:
        upstreams[place.profile].start()


def pull_everywhere(kind: str, network: SealedNetwork) -> float:
    """Pull the cached image by each name that the client takes; the seconds of the slowest pull."""
    slowest = 0.0
    with MIRRORED[kind](network) as client:
        for place in PLACES if kind != "docker" else [HUB]:
            begun = time.monotonic()
            client.pull(f"{place.image('cached')}:v1")
            slowest = max(slowest, time.monotonic() - begun)
    return slowest


@pytest.mark.parametrize("kind", MIRRORED)
def test_cached_images_are_pulled_quickly(kind: str, network: SealedNetwork, server: RegistryProxy) -> None:
    assert pull_everywhere(kind, network) < 5


@pytest.mark.parametrize("kind", MIRRORED)
def test_cached_images_are_pulled_quickly_after_a_restart(
    kind: str, network: SealedNetwork, server: RegistryProxy
) -> None:
    server.stop()
    server.start()
    assert pull_everywhere(kind, network) < 5


def test_cached_images_are_pulled_after_a_crash(network: SealedNetwork, server: RegistryProxy) -> None:
    server.kill()
    server.start()
    assert pull_everywhere("skopeo", network) < 5


def test_answer_says_that_it_is_stale(server: RegistryProxy) -> None:
    answer = server.get(f"{GHCR.path('cached')}/manifests/v1")
    assert (answer.status, answer.body) == (200, IMAGE.raw)
    assert "stale" in answer.cache_status
    assert answer.headers["Warning"].startswith("110 ")


@pytest.mark.parametrize("kind", DIRECT)
def test_image_that_is_not_cached_fails_with_the_cause(
    kind: str, network: SealedNetwork, server: RegistryProxy
) -> None:
    # A server that has pulled from ghcr.io before needs a token first.
    address = r"https://ghcr\.io/(v2/acme/other/manifests/v1|token)"
    cause = rf"ghcr\.io: GET {address}: can't connect: Connection refused"
    with DIRECT[kind](network) as client, pytest.raises(CommandError, match=cause):
        client.pull(f"{GHCR.cached('other')}:v1")
