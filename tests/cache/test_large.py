"""Blobs so large that they come over connections of their own (`upstream.bulk`), through the whole cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Reading, Site, read
from tests.kit import images
from tests.kit.faults import Break, Corrupt, IgnoreRange

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import RegistryError
from registry_proxy.upstream.bulk import LARGE

if TYPE_CHECKING:
    from tests.kit.faults import Fault

_SIZE = 2 * LARGE + 3_000_001


@pytest.fixture(scope="module")
def large() -> images.Content:
    return images.Content.of("application/octet-stream", images.incompressible(_SIZE))


@pytest.fixture(autouse=True)
async def held(site: Site, large: images.Content) -> None:
    site.simulated.contents.repository(REPOSITORY).blobs[large.digest] = large


@pytest.mark.parametrize("second", [None, IgnoreRange()], ids=repr)
async def test_one_that_breaks_off_is_resumed_and_stored(
    site: Site, large: images.Content, second: Fault | None
) -> None:
    site.simulated.arm("blob", Break(after=LARGE - 1))
    if second:
        site.simulated.arm("blob", second)
    async with site.worker() as worker:
        assert await worker.pull(large.digest) == large.raw
        await worker.settled(large.digest)
        assert await worker.outcome(large.digest) is Outcome.HIT
        assert await worker.pull(large.digest) == large.raw
    assert site.simulated.transfers(large.digest) == 2


async def test_a_corrupt_one_never_completes_and_is_not_stored(site: Site, large: images.Content) -> None:
    site.simulated.arm("blob", Corrupt(LARGE))
    async with site.worker() as worker:
        reading = Reading(await worker.blob(large.digest))
        with pytest.raises(RegistryError, match="do not match the digest"):
            await reading.whole()
        assert len(reading.received) == large.size - 1
        await worker.settled(large.digest)
        assert not worker.is_stored(large.digest)
        assert await worker.pull(large.digest) == large.raw


async def test_one_that_does_not_fit_passes_through(site: Site, large: images.Content) -> None:
    async with site.worker(max_size=LARGE) as worker:
        served = await worker.blob(large.digest)
        assert served.outcome is Outcome.PASS_THROUGH
        assert await read(served.body) == large.raw
        assert not worker.is_stored(large.digest)
