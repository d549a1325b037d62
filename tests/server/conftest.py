from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cache.conftest import no_defects, site
from tests.cache.harness import REPOSITORY
from tests.kit import images
from tests.server.harness import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cache.harness import Site
    from tests.server.harness import Edge

__all__ = ["no_defects", "site"]

IMAGE = images.image(layers=1, layer_size=300_000)


@pytest.fixture
def image() -> images.Image:
    return IMAGE


@pytest.fixture
async def edge(site: Site, image: images.Image) -> AsyncIterator[Edge]:
    """A server whose default registry has `image` as library/alpine:latest."""
    site.simulated.push(REPOSITORY, image, "latest")
    async with site.worker() as worker, serving(site, worker) as edge:
        yield edge
