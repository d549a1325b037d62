"""The command line: `python -m bench.hostile`."""

from __future__ import annotations

import hashlib
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.certificate import make_certificate
from bench.content import Content
from bench.download import fetch
from bench.hostile.attacks import ATTACKS, Target
from bench.hostile.probe import probing
from bench.hostile.registry import BLOB_SIZE, MANIFEST_SIZE, SMALL_SIZE, known_blob, manifest, start_registry
from bench.processes import free_port, memory, running

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
PROBED = "/v2/quiet.test/image/manifests/latest"
_PROGRAM = Path(sys.executable).with_name("registry-proxy")

_Only = Annotated[list[str] | None, typer.Option(help=f"An attack, repeatable: {', '.join(ATTACKS)}.")]
_Hold = Annotated[float, typer.Option(help="Time for which connections are held, in seconds.")]
_After = Annotated[float, typer.Option(help="Time after the attack until memory is measured, in seconds.")]


def main(only: _Only = None, hold: _Hold = 10.0, after: _After = 60.0) -> None:
    """Attack one worker with hostile clients, and print latencies and memory.

    Example: python -m bench.hostile --only tls-readers --after 30
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{'attack':24} {'p50':>8} {'p99':>8} {'max':>8}   {'before':>7} {'during':>7} {'after':>7}")
    for name in only or ATTACKS:
        with _site() as (target, worker):
            _measure(name, target, worker, hold, after)


def _measure(name: str, target: Target, worker: int, hold: float, after: float) -> None:
    before = memory(worker).largest_rss
    with probing(target.port, PROBED) as latencies:
        connections = ATTACKS[name](target)
        time.sleep(hold)
    during = memory(worker).largest_peak
    for connection in connections:
        connection.close()
    time.sleep(after)
    left = memory(worker).largest_rss
    times = "".join(f"{latencies.percentile(percent) * 1000:6.1f} ms" for percent in (50, 99, 100))
    sizes = "".join(f"{size / MIB:8.0f}" for size in (before, during, left))
    print(f"{name:24}{times}  {sizes} MiB", f"{latencies.failures} failures", flush=True)


@contextmanager
def _site() -> Iterator[tuple[Target, int]]:
    """Yield the addresses of a server with one worker and a cached image, and the worker's process id."""
    with tempfile.TemporaryDirectory(prefix="registry-proxy-hostile-") as name:
        directory = Path(name)
        certificate = make_certificate(directory)
        port, tls_port, *upstreams = (free_port() for _ in range(4))
        config = directory / "registry-proxy.toml"
        config.write_text(f"""\
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
[tls]
listen = ["127.0.0.1:{tls_port}"]
http = []
cert = ["{certificate.chain}"]
key = ["{certificate.key}"]
[storage]
path = "{directory / "store"}"
[cache]
tag_ttl = "1h"
[upstreams.quiet]
registry = "quiet.test"
url = "http://127.0.0.1:{upstreams[0]}"
[upstreams.flooded]
registry = "flooded.test"
url = "http://127.0.0.1:{upstreams[1]}"
""")
        registries = [start_registry(each) for each in upstreams]
        command = [str(_PROGRAM), "serve", "--config", str(config)]
        try:
            with running(command, port, directory / "log", directory=directory) as supervisor:
                target = Target(
                    port,
                    tls_port,
                    certificate.client,
                    f"/v2/quiet.test/image/blobs/{known_blob()}",
                    "/v2/quiet.test/image/large/manifests/latest",
                )
                _warm(target)
                children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
                yield target, int(children.split()[0])
        finally:
            for registry in registries:
                registry.kill()
            print(f"   {len((directory / 'log').read_text().splitlines())} lines in the log")


def _warm(target: Target) -> None:
    for path, content in ((target.manifest, manifest(MANIFEST_SIZE)), (PROBED, manifest(SMALL_SIZE))):
        fetch(target.port, path, Content(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)))
    fetch(target.port, target.blob, Content(known_blob(), BLOB_SIZE))
    time.sleep(1)


if __name__ == "__main__":
    typer.run(main)
