"""A HEAD is a hint: where only GET works, or only a tag, manifests are found all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Site
from tests.kit import images
from tests.kit.faults import Answer, Hang, Reset, too_many_requests

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.heads import AFTER_FAILURE, AFTER_REFUSAL

if TYPE_CHECKING:
    from tests.kit.upstream import SimulatedUpstream

IMAGE, NEWER = images.image(), images.image(seed=1)


def asked(simulated: SimulatedUpstream, since: int = 0) -> list[str]:
    """The methods of the requests for manifests."""
    return [request.method for request in simulated.requests[since:] if request.kind == "manifest"]


async def test_a_head_that_is_refused_is_replaced_by_a_get_from_then_on(site: Site) -> None:
    for status in (400, 401, 403, 404, 405, 501):
        simulated = await site.simulate(head_manifest_status=status)
        upstream = site.client(simulated, f"registry{status}.test")
        simulated.push(REPOSITORY, IMAGE, "latest")
        async with site.worker() as worker:
            await worker.manifest("latest", upstream=upstream)
            for image, outcome in (
                (IMAGE, Outcome.REVALIDATED),
                (NEWER, Outcome.MISS),
                (NEWER, Outcome.REVALIDATED),
            ):
                simulated.push(REPOSITORY, image, "latest")
                site.now.advance(site.rules.tag_ttl)
                served = await worker.manifest("latest", upstream=upstream)
                assert (served.manifest.raw, served.outcome) == (image.raw, outcome)
            assert asked(simulated) == ["GET", "HEAD", "GET", "GET", "GET"]
            site.monotonic.advance(AFTER_REFUSAL)
            site.now.advance(site.rules.tag_ttl)
            await worker.manifest("latest", upstream=upstream)
            assert asked(simulated)[5:] == ["HEAD", "GET"]


async def test_a_head_that_fails_where_a_get_works_is_no_outage(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    async with site.worker() as worker:
        await worker.manifest("latest")
        site.simulated.arm("manifest", Answer(status=500), method="HEAD", times=None)
        before = len(site.simulated.requests)
        for _ in range(3):
            site.now.advance(site.rules.tag_ttl)
            assert (await worker.manifest("latest")).outcome is Outcome.REVALIDATED
        assert asked(site.simulated, before) == ["HEAD", "GET", "GET", "GET"]
        site.simulated.push(REPOSITORY, NEWER, "latest")
        site.monotonic.advance(AFTER_FAILURE)
        site.now.advance(site.rules.tag_ttl)
        assert (await worker.manifest("latest")).manifest.raw == NEWER.raw


@pytest.mark.parametrize("fault", [Reset(), Hang()])
async def test_a_head_without_a_response_is_followed_by_a_get_at_the_next_attempt(
    site: Site, fault: Reset | Hang
) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    async with site.worker() as worker:
        await worker.manifest("latest")
        site.simulated.push(REPOSITORY, NEWER, "latest")
        site.now.advance(site.rules.tag_ttl)
        site.simulated.arm("manifest", fault, method="HEAD", times=None)
        hasty = site.client(site.simulated, timeouts=HASTY)
        assert (await worker.manifest("latest", upstream=hasty)).outcome is Outcome.STALE
        site.monotonic.advance(6)
        before = len(site.simulated.requests)
        served = await worker.manifest("latest")
        if served.outcome is Outcome.STALE:  # it took more than half a second, and goes on in the background
            served = await worker.manifest("latest")
        assert served.manifest.raw == NEWER.raw
        assert asked(site.simulated, before) == ["GET"]


async def test_a_limited_head_is_not_followed_by_a_get_that_counts(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")
    async with site.worker() as worker:
        await worker.manifest("latest")
        site.now.advance(site.rules.tag_ttl)
        site.simulated.arm("manifest", too_many_requests(30), method="HEAD")
        assert (await worker.manifest("latest")).outcome is Outcome.STALE
    assert asked(site.simulated) == ["GET", "HEAD"]


async def test_access_is_confirmed_by_a_get_where_a_head_is_refused(site: Site) -> None:
    simulated = await site.simulate(head_manifest_status=403)
    simulated.push(REPOSITORY, IMAGE, "latest")
    upstream = site.client(simulated, "headless.test")
    async with site.worker() as worker:
        await worker.manifest(IMAGE.digest, upstream=upstream)
        site.now.advance(site.rules.access_ttl)
        assert (await worker.manifest(IMAGE.digest, upstream=upstream)).outcome is Outcome.REVALIDATED


async def test_a_manifest_that_the_registry_knows_only_by_tag_is_found_by_tag(site: Site) -> None:
    simulated = await site.simulate("tag-only")
    upstream = site.client(simulated, "tags.test")
    simulated.push(REPOSITORY, IMAGE, "latest", "other")
    async with site.worker() as worker:
        for tag in ("other", "latest"):
            await worker.manifest(tag, upstream=upstream)
        simulated.push(REPOSITORY, NEWER, "latest")
        site.now.advance(site.rules.tag_ttl)
        # The HEAD tells the digest, by which the registry does not find it.
        assert (await worker.manifest("latest", upstream=upstream)).manifest.raw == NEWER.raw
        # The access is confirmed by the tag; the other one has moved.
        site.now.advance(site.rules.access_ttl)
        assert (await worker.manifest(IMAGE.digest, upstream=upstream)).outcome is Outcome.REVALIDATED
    for path in site.files("blobs"):
        path.unlink()
    async with site.worker() as worker:
        assert (await worker.manifest(IMAGE.digest, upstream=upstream)).manifest.raw == IMAGE.raw
        simulated.push(REPOSITORY, NEWER, "other")
    for path in site.files("blobs"):
        path.unlink()
    async with site.worker() as worker:
        with pytest.raises(RegistryError) as caught:  # no tag leads to it any more
            await worker.manifest(IMAGE.digest, upstream=upstream)
        assert caught.value.code is ErrorCode.MANIFEST_UNKNOWN
