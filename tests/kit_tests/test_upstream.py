"""The simulated upstream serves real clients in the way of each profile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kit import images
from tests.kit.upstream import SimulatedUpstream

if TYPE_CHECKING:
    from pathlib import Path


async def _skopeo(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("skopeo", "--insecure-policy", *arguments)
    assert await process.wait() == 0


async def test_skopeo_pulls_from_simulated_dockerhub(tmp_path: Path) -> None:
    async with SimulatedUpstream("dockerhub") as upstream:
        pushed = images.image(layer_size=300_000)
        upstream.push("library/alpine", pushed, "latest")
        source = f"docker://{upstream.host}/library/alpine:latest"
        await _skopeo("copy", "--src-tls-verify=false", source, f"dir:{tmp_path}")
    assert (tmp_path / "manifest.json").read_bytes() == pushed.raw
    assert upstream.count("GET", "token") == 1
    assert upstream.count("GET", "manifest", "latest") == 1
    assert [upstream.transfers(blob.digest) for blob in pushed.blobs] == [1, 1, 1]
