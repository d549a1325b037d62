"""skopeo pulls through the cache by a path prefix, from each registry, whatever is in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import check_pulled
from tests.e2e.places import GHCR, QUAY, Place, everywhere
from tests.e2e.program import HOST
from tests.kit import images
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.clients import Skopeo
    from tests.kit.remote import Simulators

pytestmark = pytest.mark.usefixtures("server")


def copy(skopeo: Skopeo, name: str, *, every_platform: bool = False) -> Path:
    return skopeo.copy(name, tls_verify=False, every_platform=every_platform)


@everywhere
def test_image_is_transferred_once_and_then_served_without_asking(
    place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int
) -> None:
    image = images.image(layers=3, layer_size=300_000, seed=seed)
    upstream = upstreams[place.profile]
    upstream.push(place.repository("image"), image, "v1")
    check_pulled(copy(skopeo, f"{place.cached('image')}:v1"), image)
    assert [upstream.transfers(blob.digest) for blob in image.blobs] == [1, 1, 1, 1]
    upstream.clear()
    check_pulled(copy(skopeo, f"{place.cached('image')}:v1"), image)
    assert upstream.requests == []


@everywhere
def test_index_of_many_platforms_comes_byte_for_byte(
    place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int
) -> None:
    index = images.multi_platform(seed=seed)
    upstreams[place.profile].push(place.repository("many"), index, "latest")
    check_pulled(copy(skopeo, place.cached("many"), every_platform=True), index)


@everywhere
def test_docker_types_come_by_digest(place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int) -> None:
    index = images.multi_platform(docker=True, seed=seed)
    upstream = upstreams[place.profile]
    upstream.push(place.repository("docker"), index)
    name = f"{place.cached('docker')}@{index.digest}"
    check_pulled(copy(skopeo, name, every_platform=True), index)
    upstream.clear()
    check_pulled(copy(skopeo, name, every_platform=True), index)
    assert upstream.requests == []


def test_registry_of_docker_hub_can_be_named_too(skopeo: Skopeo, upstreams: Simulators, seed: int) -> None:
    image = images.image(seed=seed)
    upstreams["dockerhub"].push("library/named", image, "latest")
    upstreams["dockerhub"].push("acme/named", image, "latest")
    for name in ("docker.io/named", "docker.io/library/named", "library/named", "acme/named"):
        check_pulled(copy(skopeo, f"{HOST}/{name}"), image)
    assert upstreams["dockerhub"].transfers(image.layers[0].digest) == 1


def test_content_of_two_registries_is_transferred_once(
    skopeo: Skopeo, upstreams: Simulators, seed: int
) -> None:
    image = images.image(seed=seed, layer_size=300_000)
    for place in (GHCR, QUAY):
        upstreams[place.profile].push(place.repository("shared"), image, "v1")
        check_pulled(copy(skopeo, f"{place.cached('shared')}:v1"), image)
    layer = image.layers[0]
    assert upstreams["ghcr"].transfers(layer.digest) == 1
    assert (
        sum(each.sent for each in upstreams["quay"].requests if each.reference == layer.digest) < layer.size
    )


@everywhere
def test_inspect_finds_config_and_tags(
    place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int
) -> None:
    image = images.image(seed=seed)
    upstreams[place.profile].push(place.repository("inspected"), image, "v1", "v2")
    found = skopeo.inspect(f"{place.cached('inspected')}:v1", tls_verify=False)
    assert (found["Digest"], found["RepoTags"], found["Labels"]) == (
        image.digest,
        ["v1", "v2"],
        {"seed": str(seed)},
    )


@everywhere
def test_tags_are_listed(place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int) -> None:
    tags = [f"v1.{number}" for number in range(10)]
    upstreams[place.profile].push(place.repository("tagged"), images.image(seed=seed), *tags)
    assert skopeo.tags(place.cached("tagged"), tls_verify=False) == tags


@everywhere
def test_helm_chart_and_signature_come_like_images(
    place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int
) -> None:
    chart = images.helm_chart()
    tag, signature = images.signature(chart.manifest)
    upstreams[place.profile].push(place.repository("chart"), chart, "1.0.0")
    upstreams[place.profile].push(place.repository("chart"), signature, tag)
    check_pulled(copy(skopeo, f"{place.cached('chart')}:1.0.0"), chart)
    check_pulled(copy(skopeo, f"{place.cached('chart')}:{tag}"), signature)


@everywhere
def test_unknown_image_is_unknown(place: Place, skopeo: Skopeo, upstreams: Simulators, seed: int) -> None:
    upstreams[place.profile].push(place.repository("known"), images.image(seed=seed), "v1")
    cause = rf"manifest unknown: {place.registry}: GET https://\S+/known/manifests/v2 returned 404 Not Found"
    with pytest.raises(CommandError, match=cause):
        copy(skopeo, f"{place.cached('known')}:v2")
