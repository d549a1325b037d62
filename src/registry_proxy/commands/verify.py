"""`registry-proxy verify`: the check of all cached content."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.common import FAILED, ConfigOption, JsonOption, command, settings_loader
from registry_proxy.commands.compose_file import require_store
from registry_proxy.commands.console import byte_progress, report_console
from registry_proxy.commands.formatting import size_text
from registry_proxy.maintenance.verify import Checked, Defect, DefectKind, Extent, Verifier
from registry_proxy.service.site import borrow_site

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

_DAMAGE = (DefectKind.DAMAGED, DefectKind.UNREADABLE)


class _Report:
    """The findings so far, with a progress bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("checking", total=None)
        self.extent = Extent(0, 0)
        self.findings: list[Defect] = []

    def add(self, event: Extent | Checked | Defect) -> None:
        match event:
            case Extent():
                self.extent = event
                self._bar.update(self._task, total=event.size)
            case Checked():
                self._bar.update(self._task, advance=event.size)
            case Defect():
                self.findings.append(event)

    @property
    def sound(self) -> bool:
        """True if no damage is left. A wrong index alone loses no content."""
        return all(finding.repaired or finding.kind not in _DAMAGE for finding in self.findings)


@command("Example: registry-proxy verify --repair")
def verify(
    config: ConfigOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged content, and correct the index.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check all cached content against its digests, and the index against the content. The server may run.

    Exit code 1 if damage was found and not repaired.
    """
    settings = settings_loader(config)()
    require_store(settings, config, "verify")
    root = settings.storage.path
    console = report_console(stderr=as_json)
    report = asyncio.run(_verify(root, console, repair=repair))
    if as_json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report, root, console)
    raise typer.Exit(0 if report.sound else FAILED)


async def _verify(root: Path, console: Console, *, repair: bool) -> _Report:
    async with borrow_site(root, create=False) as site:
        with byte_progress(console) as bar:
            report = _Report(bar)
            verifier = Verifier(site.store, site.index, NamedLocks(site.locks), time.time, report.add)
            await verifier.run(repair=repair, threads=os.cpu_count() or 1)
    return report


def _as_json(report: _Report) -> dict[str, object]:
    findings = [
        {
            "kind": finding.kind.value,
            "digest": str(finding.digest),
            "size": finding.size,
            "reason": finding.reason,
            "repaired": finding.repaired,
        }
        for finding in report.findings
    ]
    extent = report.extent
    return {"files": extent.files, "bytes": extent.size, "sound": report.sound, "findings": findings}


def _print(report: _Report, root: Path, console: Console) -> None:
    for finding in report.findings:
        if finding.kind in _DAMAGE:
            console.print(f"{finding.kind} {finding.digest} ({size_text(finding.size)}): {finding.reason}")
    console.print(f"Checked {report.extent.files} files, {size_text(report.extent.size)}.")
    counts = Counter((finding.kind, finding.repaired) for finding in report.findings)
    for (kind, repaired), count in sorted(counts.items()):
        console.print(_summary(kind, count, root, repaired=repaired))
    if not report.findings:
        console.print("No damage found.")


def _summary(kind: DefectKind, count: int, root: Path, *, repaired: bool) -> str:
    fix = "Run: registry-proxy verify --repair"
    match kind:
        case DefectKind.DAMAGED:
            done = "removed. The next pull downloads them again." if repaired else fix
            return f"{count} damaged: {done}"
        case DefectKind.UNREADABLE:
            return f"{count} unreadable. Run this as the owner of {root}, and check the disk."
        case DefectKind.MISSING:
            done = "removed from the index." if repaired else f"a pull downloads them again. {fix}"
            return f"{count} in the index but not in the store: {done}"
        case DefectKind.UNCOUNTED:
            done = "added to the index." if repaired else f"not counted in max_size. {fix}"
            return f"{count} in the store but not in the index: {done}"
