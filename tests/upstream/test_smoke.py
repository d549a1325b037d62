from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.kit import images
from tests.kit.profiles import ALL
from tests.kit.upstream import SimulatedUpstream
from yarl import URL

from registry_proxy.oci.digest import Digest
from registry_proxy.oci.reference import Repository, Tag
from registry_proxy.upstream.presets import Preset
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream


@asynccontextmanager
async def connected(simulated: SimulatedUpstream) -> AsyncIterator[RegistryUpstream]:
    upstream = RegistryUpstream(Preset("x", "registry.test", simulated.url), Transport(URL(simulated.url)))
    try:
        yield upstream
    finally:
        await upstream.close()


@pytest.mark.parametrize("name", [each.name for each in ALL])
async def test_all(name: str) -> None:
    async with SimulatedUpstream(name) as simulated, connected(simulated) as upstream:
        pushed = images.image(layer_size=1_000_000)
        simulated.push("library/alpine", pushed, "latest")
        repository = Repository("library/alpine")
        if name == "basic":
            return
        print(await upstream.resolve(repository, Tag("latest")))
        assert (await upstream.manifest(repository, Tag("latest"))).raw == pushed.raw
        layer = pushed.layers[0]
        async with upstream.blob(repository, Digest.parse(layer.digest), 10) as stream:
            body = b"".join([chunk async for chunk in stream.chunks()])
            assert body == layer.raw[stream.offset :]
            assert stream.size == layer.size
        print(await upstream.probe_blob(repository, Digest.parse(layer.digest)))
        print(await upstream.tags(repository, 1, None))
        print(await upstream.referrers(repository, Digest.parse(pushed.digest)))
        print(upstream.rate_limit)
        for each in simulated.requests:
            print(each)
