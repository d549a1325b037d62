"""Plain blobs, as many and as large as a test of the disk needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cache.harness import REPOSITORY
from tests.kit import images

if TYPE_CHECKING:
    from tests.cache.harness import Site, Worker

MIB = 1024 * 1024


def blob(seed: int, size: int = MIB) -> images.Content:
    return images.Content.of("application/octet-stream", images.incompressible(size, seed))


def hold(site: Site, *blobs: images.Content, repository: str = REPOSITORY) -> None:
    """Let the upstream have blobs."""
    site.simulated.contents.repository(repository).blobs |= {each.digest: each for each in blobs}


async def fetch(worker: Worker, *blobs: images.Content) -> None:
    """Pull blobs one after the other; each one's use is later than the one's before."""
    for each in blobs:
        await worker.store_blob(each.digest)
        worker.site.now.advance(1)


def stored(worker: Worker, *blobs: images.Content) -> list[bool]:
    return [worker.is_stored(each.digest) for each in blobs]
