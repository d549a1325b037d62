"""What few clients ask for but tools do: referrers, pages of tags, the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.places import GHCR, HUB, Place, everywhere
from tests.kit import images

if TYPE_CHECKING:
    from tests.e2e.clients import PullingSkopeo
    from tests.e2e.program import RegistryProxy
    from tests.kit.remote import Simulators


@everywhere
def test_referrers_are_found_with_and_without_the_api(
    place: Place, server: RegistryProxy, upstreams: Simulators, seed: int
) -> None:
    image = images.image(seed=seed)
    attestation = images.attestation(image.manifest)
    upstream = upstreams[place.profile]
    upstream.push(place.repository("signed"), image, "v1")
    upstream.push(place.repository("signed"), attestation)
    if place in (HUB, GHCR):  # which have no such API: a tag stands for it
        fallback = images.index(attestation)
        upstream.push(place.repository("signed"), fallback, image.digest.replace(":", "-"))
    path = f"{place.path('signed')}/referrers/{image.digest}"
    found = server.get(path)
    assert found.headers["Content-Type"] == images.OCI_INDEX
    assert [each["digest"] for each in found.json()["manifests"]] == [attestation.digest]
    upstream.clear()
    assert server.get(path).body == found.body
    assert server.get(f"{path}?artifactType=application/other").json()["manifests"] == []
    assert upstream.requests == []


@everywhere
def test_tags_come_in_pages(place: Place, server: RegistryProxy, upstreams: Simulators, seed: int) -> None:
    tags = [f"v1.{number}" for number in range(5)]
    upstreams[place.profile].push(place.repository("paged"), images.image(seed=seed), *tags)
    path, pages = f"{place.path('paged')}/tags/list?n=2", []
    while path:
        answer = server.get(path)
        pages.append(answer.json()["tags"])
        link = answer.headers.get("Link", "")
        path = link.partition("</v2/")[2].partition(">")[0]
    assert pages == [tags[:2], tags[2:4], tags[4:]]


def test_catalog_has_what_is_cached(
    server: RegistryProxy, upstreams: Simulators, skopeo: PullingSkopeo, seed: int
) -> None:
    upstreams["ghcr"].push(GHCR.repository("listed"), images.image(seed=seed), "v1")
    skopeo.copy(f"{GHCR.cached('listed')}:v1", tls_verify=False)
    assert "ghcr.io/acme/listed" in server.get("_catalog").json()["repositories"]
