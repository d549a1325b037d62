"""`registry-proxy adopt`: the import of another cache's storage."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    UsageError,
    command,
    settings_loader,
)
from registry_proxy.commands.console import byte_progress, report_console
from registry_proxy.commands.formatting import size_text
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
from registry_proxy.service.site import borrow_site, open_distribution
from registry_proxy.service.wiring.presets import preset_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from registry_proxy.config import Settings
    from registry_proxy.storage.base import Archive

_LOST = (BlobResult.DAMAGED, BlobResult.UNREADABLE)
_REPORTED_EACH = (*_LOST, BlobResult.FETCHED)

_MEANING = {
    BlobResult.LINKED: "hard-linked.",
    BlobResult.COPIED: "copied.",
    BlobResult.PRESENT: "already stored.",
    BlobResult.FETCHED: "left out: the server is downloading them.",
    BlobResult.NO_ROOM: "left out: there is no space. Raise storage.max_size or free disk space, and run this again.",
    BlobResult.DAMAGED: "left out: they are damaged. The next pull downloads them again.",
    BlobResult.UNREADABLE: "left out: they cannot be read or written. Run this as root, or check the disks.",
}


class _Sum(NamedTuple):
    blobs: int = 0
    size: int = 0


class _Report:
    """The results so far, with a progress bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("importing", total=None)
        self.sums = dict.fromkeys(BlobResult, _Sum())
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
                before = self.sums[event.result]
                self.sums[event.result] = _Sum(before.blobs + 1, before.size + event.size)
                if event.reason:
                    self.left_out.append(event)
            case ManifestRefused():
                self.refused.append(event)
            case RepositoryDone():
                self.repositories[str(event.source)] += 1
                self.tags += event.tags

    @property
    def sound(self) -> bool:
        """True if no blob was damaged or unreadable."""
        return not any(self.sums[result].blobs for result in _LOST)


@command("Example: registry-proxy adopt /var/lib/registry --upstream dockerhub")
def adopt(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", exists=True, file_okay=False, help="Its storage directory.", show_default=False
        ),
    ],
    upstream: Annotated[
        str,
        typer.Option(metavar="NAME", help="The upstream that it cached, as dockerhub.", show_default=False),
    ],
    config: ConfigOption = None,
    copy: Annotated[
        bool,
        typer.Option("--copy", help="Copy the blobs. The default is to hard-link them where possible."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import the storage of a registry:2 or registry:3 cache: its blobs, each verified, its repositories and tags.

    The old directory does not change. Within storage.max_size the most recent blobs are imported. Run it again after an
    interruption. The server may run. Exit code 1 if damaged or unreadable blobs were left out.
    """
    settings = settings_loader(config)()
    target = _target(settings, upstream)
    archive = open_distribution(path)
    console = report_console(stderr=as_json)
    report = asyncio.run(_import(settings, archive, target, console, copy=copy))
    if as_json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report, console)
    raise typer.Exit(0 if report.sound else FAILED)


def _target(settings: Settings, name: str) -> ImportTarget:
    for known, upstream in settings.upstreams.items():
        if name in {known, upstream.registry}:
            return ImportTarget(upstream.registry, preset_of(known, upstream).canonical)
    names = ", ".join(settings.upstreams)
    raise UsageError(f"the configuration has no upstream {name!r}. Its upstreams are {names}")


async def _import(
    settings: Settings, archive: Archive, target: ImportTarget, console: Console, *, copy: bool
) -> _Report:
    limit = settings.storage.max_size
    async with borrow_site(settings.storage.path, create=True) as site:
        with byte_progress(console) as bar:
            report = _Report(bar)
            importer = Importer(site.store, site.index, NamedLocks(site.locks), limit, time.time, report.add)
            await importer.run(archive, target, copy=copy, threads=os.cpu_count() or 1)
    return report


def _as_json(report: _Report) -> dict[str, object]:
    return {
        "blobs": {
            result.value: {"count": total.blobs, "bytes": total.size} for result, total in report.sums.items()
        },
        "repositories": len(report.repositories),
        "tags": report.tags,
        "sound": report.sound,
        "left_out": [
            {"digest": str(each.digest), "bytes": each.size, "fate": each.result.value, "reason": each.reason}
            for each in report.left_out
        ],
        "manifests_refused": [
            {"image": str(each.source), "digest": str(each.digest), "reason": each.reason}
            for each in report.refused
        ],
    }


def _print(report: _Report, console: Console) -> None:
    for each in report.left_out:
        if each.result in _REPORTED_EACH:
            console.print(f"{each.result.value} {each.digest} ({size_text(each.size)}): {each.reason}")
    for refused in report.refused:
        console.print(f"not imported {refused.source}@{refused.digest}: {refused.reason}")
    for result, (count, size) in report.sums.items():
        if count:
            console.print(f"{count} blobs, {size_text(size)}: {_MEANING[result]}")
    console.print(
        f"Imported {len(report.repositories)} repositories and {report.tags} tags. Their next pull asks the registry. "
        "If the registry is unavailable, the imported content is served."
    )
