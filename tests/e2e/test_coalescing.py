"""Clients of all kinds that pull at the same time cost one transfer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import MIRRORED
from tests.kit import images

if TYPE_CHECKING:
    from tests.kit.remote import Simulators
    from tests.kit.sealed import SealedNetwork

_CLIENTS = ["skopeo", "skopeo", "skopeo", "podman", "podman", "containerd", "containerd", "docker"]


@pytest.mark.usefixtures("server")
def test_clients_of_all_kinds_at_once_cost_one_transfer(
    network: SealedNetwork, upstreams: Simulators, seed: int
) -> None:
    image = images.image(layers=3, layer_size=6 << 20, seed=seed)
    hub = upstreams["dockerhub"]
    hub.push("library/popular", image, "latest")
    hub.set_pace(4 << 20)  # so that all of them meet it under way
    with ExitStack() as stack, ThreadPoolExecutor(len(_CLIENTS)) as threads:
        clients = [stack.enter_context(MIRRORED[kind](network)) for kind in _CLIENTS]
        pulls = [threads.submit(client.pull, "docker.io/library/popular:latest") for client in clients]
        for pull in pulls:
            pull.result()
    hub.set_pace(0)
    assert [hub.transfers(blob.digest) for blob in image.blobs] == [1, 1, 1, 1]
    assert [each.method for each in hub.requests if each.kind == "manifest" and each.status == 200] == ["GET"]
