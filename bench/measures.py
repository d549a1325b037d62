"""The measures of one running server. Each returns figures by name; `figures` describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.content import Content, Image, request_path
from bench.download import counts, download, download_together, fetch
from bench.load import Target, run_load
from bench.processes import memory, processor_seconds, wait_until_quiet

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from bench.servers import Server

GIGABYTE = 1_000_000_000
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """The extent of a run. `layer_size` is in bytes."""

    rounds: int
    layer_size: int
    load_seconds: float
    warm_up_seconds: float
    connections: int
    warm_downloads: int
    clients: int


FULL = Plan(
    rounds=3,
    layer_size=192 << 20,
    load_seconds=4.0,
    warm_up_seconds=1.0,
    connections=32,
    warm_downloads=20,
    clients=32,
)
QUICK = Plan(
    rounds=1,
    layer_size=16 << 20,
    load_seconds=0.5,
    warm_up_seconds=0.1,
    connections=8,
    warm_downloads=5,
    clients=4,
)


@dataclass(frozen=True, slots=True)
class Session:
    """One server, started with an empty store, with everything that the measures need."""

    server: Server
    pid: int
    port: int
    upstream_port: int
    image: Image
    plan: Plan
    tls: ssl.SSLContext | None = None

    def path(self, path: str) -> str:
        """Return the server's request path of `path` in the image's repository."""
        return request_path(path, self.server.prefix)

    def pull_manifest(self) -> None:
        """Pull the manifest, as every client does first. It also gives a cache the sizes of the layers."""
        fetch(self.port, self.path(self.image.tag_path), self.image.manifest, self.tls)

    def upstream_transfers(self, layer: Content) -> int:
        """Return the number of transfers of `layer` that the upstream has started."""
        return counts(self.upstream_port).get(f"GET {request_path(layer.blob_path)}", 0)


def manifest(method: str, by: str) -> Callable[[Session], dict[str, float]]:
    """Return the measure of `method` on the cached manifest by "tag" or "digest"."""

    def measure(session: Session) -> dict[str, float]:
        image, plan = session.image, session.plan
        path = session.path(image.tag_path if by == "tag" else image.manifest.manifest_path)
        fetch(session.port, path, image.manifest, session.tls)
        target = Target(session.port, method, path, image.manifest.size, session.tls)
        run_load(target, connections=plan.connections, seconds=plan.warm_up_seconds)
        before = processor_seconds(session.pid)
        load = run_load(target, connections=plan.connections, seconds=plan.load_seconds)
        used = processor_seconds(session.pid) - before
        return {
            "rate": load.requests / load.seconds,
            "p50": load.percentile(50) * 1e3,
            "p99": load.percentile(99) * 1e3,
            "processor": used / load.requests * 1e6,
        }

    return measure


def cold(session: Session) -> dict[str, float]:
    """Download a blob that the cache does not have, with one client."""
    return _cold(session, session.image.cold_layer, clients=1)


def fanout(session: Session) -> dict[str, float]:
    """Download a blob that the cache does not have, with many clients. The wall time is that of the slowest one."""
    return _cold(session, session.image.fanout_layer, session.plan.clients)


def warm(session: Session) -> dict[str, float]:
    """Download a blob that the server has, with one client."""
    layer, times = session.image.cold_layer, session.plan.warm_downloads
    path = session.path(layer.blob_path)
    session.pull_manifest()
    fetch(session.port, path, layer, session.tls)
    before = wait_until_quiet(session.pid)
    seconds = download(session.port, path, layer.size, times, session.tls)
    used = processor_seconds(session.pid) - before
    return {"wall": seconds / times, "processor": used / (layer.size * times) * GIGABYTE}


def idle_memory(session: Session) -> dict[str, float]:
    """Measure the memory before the first request."""
    wait_until_quiet(session.pid)
    held = memory(session.pid)
    return {"idle": held.largest_rss / MEBIBYTE, "idle_pss": held.total_pss / MEBIBYTE}


def peak_memory(session: Session) -> dict[str, float]:
    """Measure the peak of memory since the start of the server."""
    return {"peak": memory(session.pid).largest_peak / MEBIBYTE}


def _cold(session: Session, layer: Content, clients: int) -> dict[str, float]:
    session.pull_manifest()
    transfers, before = session.upstream_transfers(layer), wait_until_quiet(session.pid)
    seconds = download_together(session.port, session.path(layer.blob_path), layer.size, clients)
    used = wait_until_quiet(session.pid) - before  # a cache may store the blob after it has sent it
    return {
        "wall": seconds[-1],
        "processor": used / (layer.size * clients) * GIGABYTE,
        "transfers": session.upstream_transfers(layer) - transfers,
    }


# In the order in which they run. `cold` and `fanout` each need a layer that has not been requested yet.
MEASURES: dict[str, Callable[[Session], dict[str, float]]] = {
    "cold": cold,
    "warm": warm,
    "manifest-tag-get": manifest("GET", "tag"),
    "manifest-tag-head": manifest("HEAD", "tag"),
    "manifest-digest-get": manifest("GET", "digest"),
    "manifest-digest-head": manifest("HEAD", "digest"),
    "fanout": fanout,
    "tls-warm": warm,
    "tls-manifest-digest-get": manifest("GET", "digest"),
}
_COLD_MEASURES = frozenset({"cold", "fanout"})


def measures_of(server: Server, names: Sequence[str]) -> list[str]:
    """Return the measures of `names` that apply to `server`."""
    return [name for name in names if server.caches or name not in _COLD_MEASURES]


def is_under_tls(name: str) -> bool:
    """Return whether the measure needs a server with TLS."""
    return name.startswith("tls-")
