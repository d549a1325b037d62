"""Count of the modules and functions that one request passes: `python -m bench.request_path`.

The server, its cache and a simulated upstream run in one process; one request of each kind is traced with
`sys.setprofile`. A function is a code object of the package; lambdas count, comprehensions do not. A crossing is a call
from one module into another one. Times are not measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tests.cache.harness import REPOSITORY, Site
from tests.kit import images
from tests.kit.waiting import until
from tests.server.harness import serving

import registry_proxy
from registry_proxy.oci.reference import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tests.server.harness import Edge

PACKAGE = str(Path(registry_proxy.__file__).parent)
_NOT_FUNCTIONS = {"<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@dataclass
class Trace:
    """The functions of the package that ran, and the calls from one module into another one."""

    functions: set[tuple[str, str, int]] = field(default_factory=set)
    crossings: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: int = 0

    @property
    def modules(self) -> set[str]:
        """The modules whose functions ran."""
        return {module for module, _, _ in self.functions}

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Record a call: the function for `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE) or code.co_name in _NOT_FUNCTIONS:
            return
        module = _module(code.co_filename)
        self.functions.add((module, code.co_qualname, code.co_firstlineno))
        self.calls += 1
        caller = frame.f_back
        if caller is not None and caller.f_code.co_filename.startswith(PACKAGE):
            other = _module(caller.f_code.co_filename)
            if other != module:
                self.crossings[other, module] += 1

    def both_ways(self) -> list[tuple[str, str]]:
        """Return the pairs of modules that call each other."""
        return sorted((a, b) for a, b in self.crossings if a < b and (b, a) in self.crossings)


def _module(filename: str) -> str:
    return filename[len(PACKAGE) + 1 :].removesuffix(".py")


@contextmanager
def _tracing() -> Iterator[Trace]:
    trace = Trace()
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def _trace(edge: Edge, target: str, settled: Callable[[], bool]) -> Trace:
    """Trace one request, and the background work that it starts."""
    async with await edge.connect() as wire:
        with _tracing() as trace:
            wire.ask(target)
            response = await wire.answer()
            await until(settled)
    assert response.status == 200, response
    return trace


async def trace_requests(root: Path) -> dict[str, Trace]:
    """Trace a cold and a warm request for a blob and for a tag."""
    image = images.image(layers=1, layer_size=3_000_000)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site(root))
        simulated = await site.simulate()
        simulated.push(REPOSITORY, image, "latest")
        worker = await stack.enter_async_context(site.worker())
        edge = await stack.enter_async_context(serving(site, worker))
        layer = image.layers[0].digest
        simulated.push(REPOSITORY, images.image(seed=1, layers=1), "other")
        await edge.get(f"/v2/{REPOSITORY}/manifests/other")  # a running server knows the registry
        blob, tag = f"/v2/{REPOSITORY}/blobs/{layer}", f"/v2/{REPOSITORY}/manifests/latest"

        def is_committed() -> bool:
            return worker.index.content(Digest.parse(layer)) is not None

        traces = {
            "cold tag": await _trace(edge, tag, lambda: True),
            "tag from memory": await _trace(edge, tag, lambda: True),
        }
        edge.app.forget()
        site.now.advance(site.rules.tag_ttl + 1)
        traces["revalidated tag"] = await _trace(edge, tag, lambda: True)
        traces["cold blob"] = await _trace(edge, blob, is_committed)
        traces["warm blob"] = await _trace(edge, blob, lambda: True)
        return traces


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every function.")] = False,
    functions: Annotated[str, typer.Option(metavar="KIND", help="List the functions of one request.")] = "",
) -> None:
    """Count the modules and functions that one request of each kind passes.

    Example: python -m bench.request_path --functions "cold blob"
    """
    with tempfile.TemporaryDirectory() as directory:
        traces = asyncio.run(trace_requests(Path(directory)))
    if as_json:
        print(json.dumps({kind: sorted(trace.functions) for kind, trace in traces.items()}, indent=2))
        return
    if functions:
        for module, name, line in sorted(traces[functions].functions, key=lambda item: (item[0], item[2])):
            print(f"{module}.py:{line} {name}")
    print(f"{'request':<18}{'modules':>8}{'functions':>10}{'crossings':>10}{'calls':>7}  calls both ways")
    for kind, trace in traces.items():
        pairs = ", ".join(f"{a} - {b}" for a, b in trace.both_ways()) or "-"
        counts = (
            f"{len(trace.modules):>8}{len(trace.functions):>10}{trace.crossings.total():>10}{trace.calls:>7}"
        )
        print(f"{kind:<18}{counts}  {pairs}")


if __name__ == "__main__":
    typer.run(main)
