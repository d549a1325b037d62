"""The server ends, in order or not, while a transfer is under way."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT
from tests.e2e.places import QUAY
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.images import Content, Image
    from tests.kit.remote import RemoteUpstream, Simulators
    from tests.kit.sealed import SealedNetwork

_SIZE = 24 << 20
_HELD_AT = 10 << 20
_STORED = 8 << 20  # of what was sent, some is on its way yet


@pytest.fixture
def server(tmp_path: Path, network: SealedNetwork, upstreams: Simulators) -> Iterator[RegistryProxy]:
    with RegistryProxy(network, tmp_path) as server:
        yield server


@pytest.fixture
def quay(upstreams: Simulators) -> RemoteUpstream:
    return upstreams["quay"]


@pytest.fixture
def image(quay: RemoteUpstream, seed: int) -> Image:
    made = images.image(layers=1, layer_size=_SIZE, seed=seed)
    quay.push(QUAY.repository("big"), made, "v1")
    return made


@pytest.mark.parametrize("kind", DIRECT)
def test_transfer_is_resumed_after_a_crash_of_the_whole_server(
    kind: str, network: SealedNetwork, server: RegistryProxy, quay: RemoteUpstream, image: Image
) -> None:
    layer = image.layers[0]
    name = f"{QUAY.cached('big')}:v1"
    with DIRECT[kind](network) as client, ThreadPoolExecutor() as threads:
        with quay.gate("blob", after=_HELD_AT, reference=layer.digest) as gate:
            pull = threads.submit(client.pull, name)
            gate.wait_reached()
            server.wait_until(lambda: server.ingest(layer.digest).stat().st_size >= _STORED)
            server.kill()
        server.start()
        with suppress(CommandError):  # Docker goes on by itself, the others fail at once
            pull.result()
        client.pull(name)
    assert resumed_at(quay, layer) >= _STORED
    assert server.blob(layer.digest).read_bytes() == layer.raw


def test_fill_of_a_worker_that_is_killed_goes_on_for_clients_of_the_other(
    server: RegistryProxy, quay: RemoteUpstream, image: Image
) -> None:
    layer = image.layers[0]
    path = f"{QUAY.path('big')}/blobs/{layer.digest}"

    def fetch(_: int) -> bytes | None:
        try:
            return server.get(path).body
        except (OSError, IncompleteRead):
            return None

    # Each connection goes to one of two workers: that all of 24 are one worker's doesn't happen.
    with ThreadPoolExecutor(24) as threads:
        with quay.gate("blob", after=_HELD_AT, reference=layer.digest) as gate:
            fetches = [threads.submit(fetch, number) for number in range(24)]
            gate.wait_reached()
            server.wait_until(lambda: server.ingest(layer.digest).stat().st_size >= _STORED)
            server.wait_until(lambda: sum(map(connections, server.workers())) >= 24)
            os.kill(owner(server, layer.digest), signal.SIGKILL)
        bodies = [each.result() for each in fetches]
    assert layer.raw in bodies
    assert set(bodies) == {layer.raw, None}
    server.wait_until(lambda: len(server.workers()) == 2)
    assert server.get(path).body == layer.raw
    assert resumed_at(quay, layer) >= _STORED


def test_transfer_to_a_client_is_completed_before_an_ordered_end(
    server: RegistryProxy, quay: RemoteUpstream, image: Image
) -> None:
    layer = image.layers[0]
    with ThreadPoolExecutor() as threads:
        with quay.gate("blob", after=_HELD_AT, reference=layer.digest) as gate:
            fetch = threads.submit(server.get, f"{QUAY.path('big')}/blobs/{layer.digest}")
            gate.wait_reached()
            end = threads.submit(server.stop)
            server.wait_until(lambda: refuses(server))
        assert fetch.result().body == layer.raw
        assert end.result() == 0


def resumed_at(upstream: RemoteUpstream, blob: Content) -> int:
    """Where the second of just two transfers began, which sent the rest."""
    sent = (each for each in upstream.requests if each.reference == blob.digest and each.is_transfer)
    first, second = (
        each for each in sent if each.sent > 1
    )  # a byte is asked for only to see whether it may be had
    begin = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert "Range" not in first.headers
    assert second.sent == blob.size - begin
    return begin


def owner(server: RegistryProxy, digest: str) -> int:
    """The worker that fills: it alone has the file open for writing."""
    for worker in server.workers():
        for link in Path(f"/proc/{worker}/fd").iterdir():
            if link.exists() and link.samefile(server.ingest(digest)) and link.lstat().st_mode & 0o200:
                return worker
    raise AssertionError("nobody fills")


def connections(worker: int) -> int:
    """How many clients a worker has, more or less: its sockets."""
    return sum(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{worker}/fd").iterdir())


def refuses(server: RegistryProxy) -> bool:
    try:
        server.get("")
    except OSError:
        return True
    return False
