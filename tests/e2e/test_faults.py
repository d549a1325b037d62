"""What registries do wrong during a pull: the client gets the right bytes, or an error that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT, PullingSkopeo, check_pulled
from tests.e2e.places import GCR, GHCR, HUB, QUAY, Place, everywhere
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.faults import Answer, Break, Corrupt, Redirect, Reset, Stall, too_many_requests
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.clients import Client
    from tests.kit.images import Content, Image
    from tests.kit.remote import RemoteUpstream, Simulators
    from tests.kit.sealed import SealedNetwork

SIZE = 4 << 20


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, upstreams: Simulators
) -> Iterator[RegistryProxy]:
    """A server that asks at each pull whether the tag has moved."""
    with RegistryProxy(network, tmp_path_factory.mktemp("server"), cache_tag_ttl="0s") as server:
        yield server


@pytest.fixture
def image(seed: int) -> Image:
    return images.image(layers=1, layer_size=SIZE, seed=seed)


def pull(skopeo: PullingSkopeo, place: Place, name: str, image: Image) -> None:
    check_pulled(skopeo.copy(f"{place.cached(name)}:v1", tls_verify=False), image)


def transfers(upstream: RemoteUpstream, blob: Content) -> list[int]:
    """The byte that each transfer of a blob began with."""
    requests = (each for each in upstream.requests if each.is_transfer and each.reference == blob.digest)
    return [int(each.headers.get("Range", "bytes=0-")[6:-1]) for each in requests]


def pulls(client: Client, name: str) -> bool:
    """Whether a pull succeeds."""
    try:
        client.pull(name)
    except CommandError:
        return False
    return True


pytestmark = pytest.mark.usefixtures("server")


@everywhere
def test_transfer_that_breaks_twice_is_resumed(
    place: Place, skopeo: PullingSkopeo, upstreams: Simulators, image: Image
) -> None:
    upstream, layer = upstreams[place.profile], image.layers[0]
    upstream.push(place.repository("breaks"), image, "v1")
    upstream.arm("blob", Break(after=1 << 20), reference=layer.digest, times=2)
    pull(skopeo, place, "breaks", image)
    assert [begin > 0 for begin in transfers(upstream, layer)] == [False, True, True]


@pytest.mark.slow
def test_transfer_that_stalls_is_resumed_after_twenty_seconds(
    skopeo: PullingSkopeo, upstreams: Simulators, image: Image
) -> None:
    upstream, layer = upstreams["quay"], image.layers[0]
    upstream.push(QUAY.repository("stalls"), image, "v1")
    upstream.arm("blob", Stall(after=1 << 20), reference=layer.digest)
    pull(skopeo, QUAY, "stalls", image)
    assert transfers(upstream, layer) == [0, 1 << 20]


@pytest.mark.parametrize("kind", DIRECT)
def test_wrong_bytes_reach_neither_client_nor_store(
    kind: str, network: SealedNetwork, server: RegistryProxy, upstreams: Simulators, image: Image
) -> None:
    upstream, layer = upstreams["ghcr"], image.layers[0]
    upstream.push(GHCR.repository("wrong"), image, kind)
    upstream.arm("blob", Corrupt(at=1 << 20), reference=layer.digest, times=None)
    name = f"{GHCR.cached('wrong')}:{kind}"
    with DIRECT[kind](network) as client:
        with pytest.raises(CommandError):
            client.pull(name)
        assert not server.blob(layer.digest).exists()
        assert not server.ingest(layer.digest).exists()
        upstream.clear()
        if kind == "containerd":  # it keeps the wrong bytes for a moment, and asks for the rest only
            server.wait_until(lambda: pulls(client, name))
        client.pull(name)
    assert server.blob(layer.digest).read_bytes() == layer.raw


@pytest.mark.parametrize(
    "fault",
    [
        too_many_requests(3600),
        too_many_requests(plain=True),
        Answer(status=503),
        Answer(status=500, code="UNKNOWN"),
        Answer(status=403, code="DENIED"),
        Reset(),
        Redirect(),
    ],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'status', '')}",
)
def test_cached_image_is_pulled_while_the_registry_refuses(
    fault: Answer | Reset | Redirect, skopeo: PullingSkopeo, upstreams: Simulators, image: Image, seed: int
) -> None:
    name = f"refused-{seed}"
    upstreams["dockerhub"].push(HUB.repository(name), image, "v1")
    pull(skopeo, HUB, name, image)
    upstreams["dockerhub"].arm("manifest", fault, times=None)
    pull(skopeo, HUB, name, image)


@pytest.mark.parametrize("kind", ["skopeo", "containerd", "docker"])  # podman is skopeo with more patience
def test_limit_of_docker_hub_is_told_to_who_pulls_something_new(
    kind: str, network: SealedNetwork, upstreams: Simulators, image: Image
) -> None:
    upstreams["dockerhub"].push(HUB.repository("limited"), image, "v1")
    upstreams["dockerhub"].arm("manifest", too_many_requests(1), times=None)
    with DIRECT[kind](network) as client, pytest.raises(CommandError) as failure:
        client.pull(f"{HUB.cached('limited')}:v1")
    assert "docker.io: " in str(failure.value)
    assert "pull rate limit" in str(failure.value)


@pytest.mark.parametrize(("status", "challenge"), [(401, True), (401, False), (403, False), (400, False)])
def test_tokens_that_die_early_are_not_noticed(
    status: int, challenge: bool, skopeo: PullingSkopeo, upstreams: Simulators, image: Image
) -> None:
    upstreams["quay"].push(QUAY.repository("tokens"), image, "v1")
    pull(skopeo, QUAY, "tokens", image)
    upstreams["quay"].kill_tokens(status=status, challenge=challenge)
    other = images.image(seed=int(image.config.digest[-6:], 16))
    upstreams["quay"].push(QUAY.repository("tokens"), other, "v1")
    pull(skopeo, QUAY, "tokens", other)


def test_redirects_in_a_circle_end_with_that_reason(
    skopeo: PullingSkopeo, upstreams: Simulators, image: Image
) -> None:
    upstreams["gcr"].push(GCR.repository("circle"), image, "v1")
    upstreams["gcr"].arm("manifest", Redirect(), times=None)
    with pytest.raises(CommandError, match=r"gcr\.io: redirects from \S+/manifests/v1 form a loop"):
        skopeo.copy(f"{GCR.cached('circle')}:v1", tls_verify=False)


@pytest.mark.parametrize("kind", DIRECT)
def test_unknown_image_is_not_found(
    kind: str, network: SealedNetwork, upstreams: Simulators, image: Image
) -> None:
    upstreams["ghcr"].push(GHCR.repository("known"), image, "v1")
    with DIRECT[kind](network) as client, pytest.raises(CommandError, match=r"manifest unknown|not found"):
        client.pull(f"{GHCR.cached('known')}:v2")


@pytest.mark.parametrize("kind", DIRECT)
def test_manifest_that_is_damaged_is_refused_with_that_reason(
    kind: str, network: SealedNetwork, upstreams: Simulators, image: Image
) -> None:
    upstreams["ghcr"].push(GHCR.repository("damaged"), image, kind)
    upstreams["ghcr"].arm("manifest", Corrupt(at=20), times=None)
    reason = rf"ghcr\.io: manifest {kind} of ghcr\.io/acme/damaged is invalid"
    with DIRECT[kind](network) as client, pytest.raises(CommandError, match=reason):
        client.pull(f"{GHCR.cached('damaged')}:{kind}")
