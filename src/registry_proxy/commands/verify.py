"""`registry-proxy verify`: the check of everything that is cached, drawn."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.progress import byte_columns
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.maintenance.verify import Checked, Extent, Finding, Kind, Verifier
from registry_proxy.storage.base import StoreError
from registry_proxy.storage.filesystem import FilesystemStore
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from pathlib import Path


class _Outcome:
    """What was checked and found so far, shown on a progress bar where there is a terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("checking", total=None)
        self.extent = Extent(0, 0)
        self.files = 0
        self.findings: list[Finding] = []

    def add(self, event: Extent | Checked | Finding) -> None:
        match event:
            case Extent():
                self.extent = event
                self._bar.update(self._task, total=event.size)
            case Checked():
                self.files += event.complete
                self._bar.update(self._task, advance=event.size)
            case Finding():
                self.findings.append(event)

    @property
    def sound(self) -> bool:
        """Whether all content that is left is good; a wrong index alone loses nothing."""
        damage = (Kind.DAMAGED, Kind.UNREADABLE)
        return all(finding.repaired or finding.kind not in damage for finding in self.findings)


def run(root: Path, *, repair: bool, as_json: bool) -> bool:
    """Check the store in `root`; whether all is sound. Raises StoreError or IndexFailedError."""
    if not (root / "blobs").is_dir():
        raise StoreError(f"nothing is stored in {root} yet, or storage.path is wrong")
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    with Progress(*byte_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        outcome = _Outcome(bar)
        asyncio.run(_verify(root, outcome, repair=repair))
    if as_json:
        typer.echo(json.dumps(_as_json(outcome), indent=2))
    else:
        _tell(outcome, root, console)
    return outcome.sound


async def _verify(root: Path, outcome: _Outcome, *, repair: bool) -> None:
    store = FilesystemStore(root)
    with closing(FileLocks(root / "locks")) as process_locks:
        index = SqliteIndex(root / "index.db")
        try:
            verifier = Verifier(store, index, NamedLocks(process_locks), time.time, outcome.add)
            await verifier.run(repair=repair, threads=os.cpu_count() or 1)
        finally:
            await index.close()


def _as_json(outcome: _Outcome) -> dict[str, object]:
    findings = [
        {
            "kind": finding.kind.value,
            "digest": str(finding.digest),
            "size": finding.size,
            "reason": finding.reason,
            "repaired": finding.repaired,
        }
        for finding in outcome.findings
    ]
    extent = outcome.extent
    return {"files": extent.files, "bytes": extent.size, "sound": outcome.sound, "findings": findings}


def _tell(outcome: _Outcome, root: Path, console: Console) -> None:
    for finding in outcome.findings:
        if finding.kind in (Kind.DAMAGED, Kind.UNREADABLE):
            console.print(f"{finding.kind} {finding.digest} ({decimal(finding.size)}): {finding.reason}")
    console.print(f"Checked {outcome.extent.files} files, {decimal(outcome.extent.size)}.")
    for (kind, repaired), count in sorted(Counter((f.kind, f.repaired) for f in outcome.findings).items()):
        console.print(_summary(kind, count, root, repaired=repaired))
    if not outcome.findings:
        console.print("All is sound.")


def _summary(kind: Kind, count: int, root: Path, *, repaired: bool) -> str:
    mend = "Run: registry-proxy verify --repair"
    match kind:
        case Kind.DAMAGED:
            done = "removed; the next pull fetches them anew." if repaired else mend
            return f"{count} damaged: {done}"
        case Kind.UNREADABLE:
            return f"{count} unreadable. Run this as the user who owns {root}, and check the disk."
        case Kind.MISSING:
            done = "taken out of the index." if repaired else f"they are fetched anew when pulled. {mend}"
            return f"{count} in the index but not in the store: {done}"
        case Kind.UNCOUNTED:
            done = "added to it." if repaired else f"they don't count towards max_size. {mend}"
            return f"{count} in the store but not in the index: {done}"
