"""Inspection of the store, the processes and the registries' logs, and of leftovers at the end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import memory
from bench.soak.images import TAG
from bench.soak.site import BUDGET, MIB
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.oci.reference import Digest, Repository, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.soak.images import Item
    from bench.soak.ledger import ActiveFaults, Ledger
    from bench.soak.site import Site

_EVERY = 0.5  # seconds
_MEMORY = 150 * MIB  # bytes per worker
# After a fault, transfers in progress may appear twice for this long, in seconds.
_SETTLING = 3.0


async def cached_names(store: Path, items: Sequence[Item]) -> list[str]:
    """Return the repositories whose tag is cached completely: all of its content is stored and linked."""
    index = SqliteIndex(store / "index.db")
    try:
        return [item.name for item in items if _is_cached(store, index, item)]
    finally:
        await index.close()


def _is_cached(store: Path, index: SqliteIndex, item: Item) -> bool:
    source = Source(item.registry, Repository(item.repository))
    record = index.tag(source, TAG)
    return record is not None and all(
        index.link(source, digest) and index.content(digest) and blob_file(store, digest).exists()
        for digest in _parts(item, str(record.digest))
    )


def _parts(item: Item, digest: str) -> list[Digest]:
    """Return the digests of all manifests and blobs of a version."""
    version = next(version for version in item.versions if version.manifest.digest == digest)
    return [Digest.parse(each.digest) for each in (*version.manifests, *version.blobs)]


def blob_file(store: Path, digest: Digest) -> Path:
    """Return the path of stored content."""
    return store / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex


class Inspector:
    """Inspection at intervals while the soak runs."""

    def __init__(self, site: Site, ledger: Ledger, active: ActiveFaults) -> None:
        self._site = site
        self._ledger = ledger
        self._active = active

    async def run(self) -> None:
        """Inspect the site every 0.5 s, until cancelled."""
        while True:
            await asyncio.to_thread(self._inspect)
            await asyncio.sleep(_EVERY)

    def _inspect(self) -> None:
        # Files appear and disappear during a count, so a single count can be too high.
        used = min(sum(_sizes(self._site.store)) for _ in range(3))
        self._ledger.peak_store = max(self._ledger.peak_store, used)
        if used > BUDGET:
            self._ledger.lose("over budget", f"{used} bytes are stored, {BUDGET} allowed")
        for worker in self._site.workers():
            size = memory(worker).largest_rss
            self._ledger.peak_memory = max(self._ledger.peak_memory, size)
            if size > _MEMORY:
                self._ledger.lose("memory", f"a worker has {size // MIB} MiB")
        if not self._active.excuses(time.monotonic() - _SETTLING) and not self._site.is_full:
            self._check_double_transfers()

    def _check_double_transfers(self) -> None:
        for upstream in self._site.upstreams:
            running = (
                each
                for each in upstream.requests
                if each.kind == "blob" and each.is_transfer and not each.finished and each.sent > 1
            )
            for digest, count in Counter(each.reference for each in running).items():
                if count > 1:
                    self._ledger.lose("double transfer", f"{digest} from {upstream.name}: {count} at once")


async def inspect_leftovers(site: Site, items: Iterable[Item], ledger: Ledger) -> None:
    """Check, after all pulls and the stop of the server, that no unusable files or reservations are left."""
    wanted = {blob.digest.partition(":")[2] for item in items for blob in item.current.blobs}
    ingests = {file.name for file in (site.store / "ingest").iterdir()}
    for name in sorted(ingests & wanted):
        ledger.lose("leftover", f"ingest/{name} is complete, but was not removed")
    for name in sorted(name for name in ingests if len(name) != 64):
        ledger.lose("leftover", f"ingest/{name} does not belong to a blob")
    index = SqliteIndex(site.store / "index.db")
    try:
        for digest in index.reserved():
            if digest.hex not in ingests:
                ledger.lose("leftover", f"space is reserved for {digest}, which is not being downloaded")
    finally:
        await index.close()
    _inspect_verification(await asyncio.to_thread(site.verify), ledger)
    _inspect_log(site.log, ledger)


def _inspect_verification(found: str, ledger: Ledger) -> None:
    try:
        document = json.loads(found)
    except ValueError:
        ledger.lose("verify", f"the output is not JSON: {found[:300]!r}")
        return
    for finding in document["findings"]:
        ledger.lose("verify", json.dumps(finding))


def _inspect_log(log: Path, ledger: Ledger) -> None:
    text = log.read_text(errors="replace")
    for line in text.splitlines():
        if "please report" in line:
            ledger.lose("defect in the log", line[:500])


def _sizes(store: Path) -> Iterator[int]:
    for directory in ("blobs", "ingest"):
        for path, _, names in os.walk(store / directory):
            for name in names:
                try:
                    yield Path(path, name).stat().st_size
                except FileNotFoundError:  # evicted in the meantime
                    continue
