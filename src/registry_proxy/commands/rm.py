"""`registry-proxy rm`: images are removed, after a look at what goes."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import typer

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.formatting import size_text
from registry_proxy.commands.image_patterns import Names
from registry_proxy.commands.opening import open_store
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.maintenance.removal import Remover, plan_removal
from registry_proxy.maintenance.workers import count_workers
from registry_proxy.oci.reference import Source, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from registry_proxy.commands.opening import Opened
    from registry_proxy.config import Settings
    from registry_proxy.maintenance.removal import RemovalPlan
    from registry_proxy.oci.reference import Reference


def run(settings: Settings, images: Iterable[str], *, yes: bool, dry_run: bool, as_json: bool) -> bool:
    """Remove the images; False when the user says no.

    Raises FailedError, UsageError, StoreError or IndexFailedError.
    """
    wanted = _wanted(Names(settings), images)
    root = settings.storage.path
    with open_store(root) as opened:
        plan = plan_removal(opened.index, wanted)
        missing = list(_missing(plan, wanted))
        if missing:
            raise FailedError(
                f"not cached: {', '.join(missing)}. Nothing was removed; `registry-proxy ls` shows what is."
            )
        if not as_json:
            _tell(plan)
        if not dry_run:
            if not _agreed(yes=yes, as_json=as_json):
                return False
            asyncio.run(_remove(opened, root, plan))
    if as_json:
        typer.echo(json.dumps(_as_json(plan, removed=not dry_run), indent=2))
    elif not dry_run:
        typer.echo("Removed.")
    return True


def _wanted(names: Names, images: Iterable[str]) -> dict[Source, list[Reference]]:
    """By repository what is to go of it; nothing named is all of it."""
    wanted: dict[Source, list[Reference]] = {}
    whole = set()
    for text in images:
        source, reference = names.parse(text)
        references = wanted.setdefault(source, [])
        if reference is None:
            whole.add(source)
        else:
            references.append(reference)
    return {source: [] if source in whole else references for source, references in wanted.items()}


def _missing(plan: RemovalPlan, wanted: dict[Source, list[Reference]]) -> Iterator[str]:
    for source, removal in plan.removals.items():
        if not wanted[source] and not removal.names and not removal.digests:
            yield str(source)
        for reference in removal.unknown:
            yield f"{source}:{reference}" if isinstance(reference, Tag) else f"{source}@{reference}"


def _tell(plan: RemovalPlan) -> None:
    for source, removal in plan.removals.items():
        tags = ", ".join(sorted(name for name in removal.names if ":" not in name))
        count = len(removal.digests)
        typer.echo(
            f"{source}: {f'tags {tags}' if tags else 'no tag'}, {count} manifest{'s' * (count != 1)} and layers"
        )
    typer.echo(f"This frees {size_text(sum(plan.freed.values()))}; what others share stays.")


def _agreed(*, yes: bool, as_json: bool) -> bool:
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked here: add --yes to remove it, or --dry-run to see what would go"
        )
    return typer.confirm("Remove it?")


async def _remove(opened: Opened, root: Path, plan: RemovalPlan) -> None:
    index = SqliteIndex(root / "index.db")
    try:
        remover = Remover(
            opened.store, index, NamedLocks(opened.locks), lambda: count_workers(opened.locks) > 0
        )
        await remover.run(plan)
    finally:
        await index.close()


def _as_json(plan: RemovalPlan, *, removed: bool) -> dict[str, object]:
    repositories = [
        {
            "image": str(source),
            "tags": sorted(name for name in removal.names if ":" not in name),
            "digests": sorted(map(str, removal.digests)),
        }
        for source, removal in plan.removals.items()
    ]
    return {
        "removed": removed,
        "repositories": repositories,
        "deleted": sorted(map(str, plan.freed)),
        "bytes_freed": sum(plan.freed.values()),
    }
