"""A worker in a process of its own, which the test kills: it pulls one blob and then waits for its end.

`python -m tests.cache.other_process ROOT URL REPOSITORY DIGEST`; a line of its output tells how many bytes it has read.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

from tests.cache.harness import Site, bytes_of
from yarl import URL

from registry_proxy.oci.reference import Digest, Repository
from registry_proxy.upstream.presets import Preset
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream


async def pull(root: Path, url: str, repository: str, digest: str) -> None:
    async with Site(root) as site, site.worker() as worker:
        preset = Preset("simulated", "registry.test", url)
        upstream = RegistryUpstream(preset, Transport(URL(url)), worker.background)
        served = await worker.cache.blobs.get(
            upstream.repository(Repository(repository)), Digest.parse(digest)
        )
        count = 0
        async with aclosing(served.body.pieces(0, served.body.size)) as pieces:
            async for piece in pieces:
                count += len(bytes_of(piece))
                print(count, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(pull(Path(sys.argv[1]), *sys.argv[2:]))
