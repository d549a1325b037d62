"""Clients with the settings of the documentation pull by the real names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import (
    default_containerd,
    mirrored_containerd,
    mirrored_docker,
    mirrored_podman,
)
from tests.e2e.places import HUB, PLACES, Place
from tests.kit import images
from tests.kit.profiles import FIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.clients import Containerd, Docker, Podman
    from tests.kit.remote import Simulators
    from tests.kit.sealed import SealedNetwork

pytestmark = pytest.mark.usefixtures("server")


def askers(upstreams: Simulators) -> set[str]:
    """The programs that have asked any of the registries."""
    requests = (each for profile in FIVE for each in upstreams[profile.name].requests)
    return {each.headers["User-Agent"].partition("/")[0] for each in requests}


@pytest.mark.parametrize(
    ("make", "places"),
    [
        (mirrored_podman, PLACES),
        (mirrored_containerd, PLACES),
        (default_containerd, PLACES),
        (mirrored_docker, [HUB]),
    ],
)
def test_images_are_pulled_through_the_cache_only_and_run(
    make: Callable[[SealedNetwork], Podman | Containerd | Docker],
    places: list[Place],
    network: SealedNetwork,
    upstreams: Simulators,
) -> None:
    image = images.runnable_image(greeting=make.__name__)
    for place in places:
        upstreams[place.profile].push(place.repository("hello"), image, make.__name__)
    names = [f"{place.image('hello')}:{make.__name__}" for place in places]
    with make(network) as cold:
        for name in names:
            cold.pull(name)
            assert cold.run(name) == f"{make.__name__}\n"
    assert askers(upstreams) == {"registry-proxy"}
    for place in places:
        upstreams[place.profile].clear()
    with make(network) as warm:
        for name in names:
            warm.pull(name)
    assert askers(upstreams) == set()
