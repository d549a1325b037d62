"""`registry-proxy adopt`: another cache's storage is taken over, drawn."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.common import UsageError
from registry_proxy.commands.formatting import size_text
from registry_proxy.commands.progress import byte_columns
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.maintenance.importing import (
    Amount,
    BlobDone,
    BlobResult,
    Event,
    Importer,
    ImportTarget,
    ManifestRefused,
    Progress,
    RepositoryDone,
)
from registry_proxy.service.wiring.upstreams import preset_of
from registry_proxy.storage.distribution import DistributionDirectory
from registry_proxy.storage.filesystem import FilesystemStore
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.config import Settings

_LOST = (BlobResult.DAMAGED, BlobResult.UNREADABLE)
_TOLD_ONE_BY_ONE = (*_LOST, BlobResult.FETCHED)


class _Sum(NamedTuple):
    blobs: int = 0
    size: int = 0


class _Outcome:
    """What was taken over so far, shown on a progress bar where there is a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("taking over", total=None)
        self.fates = dict.fromkeys(BlobResult, _Sum())
        self.left_out: list[BlobDone] = []
        self.refused: list[ManifestRefused] = []
        self.repositories = Counter[str]()
        self.tags = 0

    def add(self, event: Event) -> None:
        match event:
            case Amount():
                self._bar.update(self._task, total=event.size)
            case Progress():
                self._bar.update(self._task, advance=event.size)
            case BlobDone():
                before = self.fates[event.fate]
                self.fates[event.fate] = _Sum(before.blobs + 1, before.size + event.size)
                if event.reason:
                    self.left_out.append(event)
            case ManifestRefused():
                self.refused.append(event)
            case RepositoryDone():
                self.repositories[str(event.source)] += 1
                self.tags += event.tags

    @property
    def sound(self) -> bool:
        """Whether nothing was lost."""
        return not any(self.fates[fate].blobs for fate in _LOST)


def run(settings: Settings, path: Path, upstream: str, *, copy: bool, as_json: bool) -> bool:
    """Take the folder over; whether all of it was sound. Raises UsageError, StoreError or IndexFailedError."""
    heir = _heir(settings, upstream)
    old = DistributionDirectory(path)
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    with Bar(*byte_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        outcome = _Outcome(bar)
        asyncio.run(_adopt(settings, old, heir, outcome, copy=copy))
    if as_json:
        typer.echo(json.dumps(_as_json(outcome), indent=2))
    else:
        _tell(outcome, console)
    return outcome.sound


def _heir(settings: Settings, name: str) -> ImportTarget:
    for known, upstream in settings.upstreams.items():
        if name in {known, upstream.registry}:
            return ImportTarget(upstream.registry, preset_of(known, upstream).canonical)
    names = ", ".join(settings.upstreams)
    raise UsageError(f"there is no upstream {name!r} in the configuration; there are {names}")


async def _adopt(
    settings: Settings, old: DistributionDirectory, heir: ImportTarget, outcome: _Outcome, *, copy: bool
) -> None:
    root = settings.storage.path
    store = FilesystemStore(root)
    with closing(FileLocks(root / "locks")) as locks:
        index = SqliteIndex(root / "index.db")
        try:
            adopter = Importer(
                store, index, NamedLocks(locks), settings.storage.max_size, time.time, outcome.add
            )
            await adopter.run(old, heir, copy=copy, threads=os.cpu_count() or 1)
        finally:
            await index.close()


def _as_json(outcome: _Outcome) -> dict[str, object]:
    return {
        "blobs": {
            fate.value: {"count": told.blobs, "bytes": told.size} for fate, told in outcome.fates.items()
        },
        "repositories": len(outcome.repositories),
        "tags": outcome.tags,
        "sound": outcome.sound,
        "left_out": [
            {"digest": str(each.digest), "bytes": each.size, "fate": each.fate.value, "reason": each.reason}
            for each in outcome.left_out
        ],
        "manifests_refused": [
            {"image": str(each.source), "digest": str(each.digest), "reason": each.reason}
            for each in outcome.refused
        ],
    }


def _tell(outcome: _Outcome, console: Console) -> None:
    for each in outcome.left_out:
        if each.fate in _TOLD_ONE_BY_ONE:
            console.print(f"{each.fate.value} {each.digest} ({size_text(each.size)}): {each.reason}")
    for refused in outcome.refused:
        console.print(f"not served {refused.source}@{refused.digest}: {refused.reason}")
    for fate, (count, size) in outcome.fates.items():
        if count:
            console.print(f"{count} blobs, {size_text(size)}: {_MEANING[fate]}")
    console.print(
        f"{len(outcome.repositories)} repositories and {outcome.tags} tags are known. The registry is asked at their "
        "next pull; while it can't be, they are served as they are."
    )


_MEANING = {
    BlobResult.LINKED: "taken over without a copy.",
    BlobResult.COPIED: "copied.",
    BlobResult.PRESENT: "were here already.",
    BlobResult.FETCHED: "left to the server, which is just fetching them.",
    BlobResult.NO_ROOM: "left out, for want of room. Raise storage.max_size or free disk space, and run this again.",
    BlobResult.DAMAGED: "left out, since they are damaged; the next pull fetches them anew.",
    BlobResult.UNREADABLE: "left out, since they could not be read or written. Run this as root, or check the disks.",
}
