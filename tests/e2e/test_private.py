"""Private images: the cache's own credentials, and nobody else's way to what is cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT, PullingSkopeo, check_pulled
from tests.e2e.places import GHCR, QUAY, Place
from tests.e2e.program import RegistryProxy
from tests.kit import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.images import Image
    from tests.kit.remote import Simulators
    from tests.kit.sealed import SealedNetwork

USER, PASSWORD = "robot", "ghp_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def secret(upstreams: Simulators) -> Image:
    """An image that one user may pull, and a public one beside it."""
    image = images.image(layers=1, layer_size=1 << 20, seed=1)
    upstreams["ghcr"].push(GHCR.repository("secret"), image, "v1")
    upstreams["ghcr"].admit(USER, PASSWORD, only_to=GHCR.repository("secret"))
    for place in (GHCR, QUAY):
        upstreams[place.profile].push(place.repository("open"), images.image(seed=2), "v1")
    return image


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, secret: Image
) -> Iterator[RegistryProxy]:
    """A server with credentials for ghcr.io."""
    folder = tmp_path_factory.mktemp("server")
    with RegistryProxy(network, folder, ghcr_username=USER, ghcr_password=PASSWORD) as server:
        yield server


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("kind", DIRECT)
def test_private_image_is_pulled_with_the_credentials_of_the_cache(kind: str, network: SealedNetwork) -> None:
    with DIRECT[kind](network) as client:
        client.pull(f"{GHCR.cached('secret')}:v1")


def test_credentials_are_in_no_log_and_go_to_the_token_service_only(
    server: RegistryProxy, skopeo: PullingSkopeo, upstreams: Simulators, secret: Image
) -> None:
    check_pulled(skopeo.copy(f"{GHCR.cached('secret')}:v1", tls_verify=False), secret)
    assert PASSWORD not in server.log.read_text()
    basic = [each for each in upstreams["ghcr"].requests if "Basic" in each.headers.get("Authorization", "")]
    assert {each.kind for each in basic} <= {"token"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("place", [GHCR, QUAY], ids=lambda place: place.profile)
def test_cached_private_content_is_not_there_under_another_name(
    place: Place, method: str, server: RegistryProxy, skopeo: PullingSkopeo, secret: Image
) -> None:
    skopeo.copy(f"{GHCR.cached('secret')}:v1", tls_verify=False)
    skopeo.copy(f"{place.cached('open')}:v1", tls_verify=False)
    for path in (f"manifests/{secret.digest}", *(f"blobs/{blob.digest}" for blob in secret.blobs)):
        assert server.get(f"{GHCR.path('secret')}/{path}", method=method).status == 200
        assert server.get(f"{place.path('open')}/{path}", method=method).status == 404


def test_public_copy_of_the_same_content_is_served_without_a_transfer(
    server: RegistryProxy, skopeo: PullingSkopeo, upstreams: Simulators, secret: Image
) -> None:
    skopeo.copy(f"{GHCR.cached('secret')}:v1", tls_verify=False)
    upstreams["quay"].push(QUAY.repository("copy"), secret, "v1")
    check_pulled(skopeo.copy(f"{QUAY.cached('copy')}:v1", tls_verify=False), secret)
    layer = secret.layers[0].digest
    sent = sum(each.sent for each in upstreams["quay"].requests if each.reference == layer)
    assert 0 < sent < 100_000  # quay proves that it has the layer of 1 MiB, and sends no more of it
