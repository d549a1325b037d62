"""Run the conformance suite through the cache, and straight at the registry behind it: `python -m tests.conformance`.

A test that passes straight must pass through the cache. With the complete registry all tests of pulls and of content
discovery must pass.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands.registry2 import OldFolder, docker_registry
from tests.commands.server import Site
from tests.conformance.front import front
from tests.conformance.pushing import Push, Pushes
from tests.conformance.suite import BUILD, program, run
from tests.kit.upstream import SimulatedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttp import web
    from tests.conformance.front import Writes
    from tests.conformance.suite import Results
    from tests.kit.wire import Reply


@contextmanager
def cache(folder: Path, registry: str) -> Iterator[str]:
    """The cache before a registry. Its tags are checked at each request: the suite moves them."""
    site = Site(folder, registry, cache_tag_ttl="0s")
    with site.serving() as server:
        yield server.url


@asynccontextmanager
async def debian(folder: Path) -> AsyncIterator[tuple[str, Writes]]:
    """Debian's docker-registry, which has neither referrers nor sha512."""
    with docker_registry(OldFolder(folder / "registry")) as host:
        yield f"http://{host}", f"http://{host}"


@asynccontextmanager
async def complete(folder: Path) -> AsyncIterator[tuple[str, Writes]]:
    """A simulated registry with all of the specification."""
    async with SimulatedUpstream("plain") as simulated:
        pushes = Pushes(simulated.contents)

        def write(request: web.BaseRequest, body: bytes) -> Reply:
            return pushes.answer(Push(request.method, request.path, request.query, request.headers, body))

        yield simulated.url, write


REGISTRIES = {"complete": complete, "docker-registry": debian}


async def compare(name: str, folder: Path) -> bool:
    """Run the suite both ways at one registry, print the differences, and return whether the cache is as good."""
    found: dict[str, Results] = {}
    for way in ("straight", "cached"):
        place = folder / name / way
        place.mkdir(parents=True)
        async with REGISTRIES[name](place) as (reads, writes):
            with cache(place, reads) as cache_url:
                async with front(cache_url if way == "cached" else reads, writes) as host:
                    found[way] = await run(host, BUILD / "reports" / name / way)
    straight, cached = found["straight"], found["cached"]
    lost = [test for test in straight if _passes(straight, test) and not _passes(cached, test)]
    failing = [
        test for test in cached if _fails(cached, test) and (name == "complete" or not _fails(straight, test))
    ]
    print(f"{name}: straight {_sum(straight)}; through the cache {_sum(cached)}")
    for test in lost:
        print(f"  passes straight, and not through the cache: {test}")
    for test in failing:
        print(f"  fails through the cache: {test}")
    return bool(straight) and not lost and not failing


def _passes(results: Results, test: str) -> bool:
    return set(results.get(test, ())) == {"passed"}


def _fails(results: Results, test: str) -> bool:
    return bool(results.get(test, Counter())["failure"] or results.get(test, Counter())["error"])


def _sum(results: Results) -> str:
    total: Counter[str] = sum(results.values(), Counter())
    return ", ".join(f"{count} {status}" for status, count in sorted(total.items()))


async def main() -> int:
    program()
    shutil.rmtree(BUILD / "reports", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        as_good = [await compare(name, Path(folder)) for name in REGISTRIES]
    print(f"The suite's reports are in {BUILD / 'reports'}.")
    return 0 if all(as_good) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
