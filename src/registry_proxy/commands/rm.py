"""`registry-proxy rm`: removal of images, after a confirmation."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.aio.locks import NamedLocks
from registry_proxy.commands.common import (
    FAILED,
    ConfigOption,
    FailedError,
    JsonOption,
    UsageError,
    YesOption,
    command,
    settings_loader,
)
from registry_proxy.commands.compose_file import require_store
from registry_proxy.commands.formatting import size_text
from registry_proxy.commands.image_patterns import Names
from registry_proxy.maintenance.removal import Remover, plan_removal
from registry_proxy.maintenance.workers import count_workers
from registry_proxy.oci.reference import Source, Tag
from registry_proxy.service.site import borrow_site, read_site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from registry_proxy.maintenance.removal import RemovalPlan
    from registry_proxy.oci.reference import Reference


@command("Example: registry-proxy rm alpine:3.20 ghcr.io/acme/app")
def rm(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE[:TAG|@DIGEST]", help="As in `ls`.", show_default=False)
    ],
    config: ConfigOption = None,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove images, or only tags or digests of them, and the content that no other image uses.

    The server may run. The next pull downloads the image again. Exit code 1 if an image is not cached (then nothing is
    removed), or if you decline.
    """
    settings = settings_loader(config)()
    require_store(settings, config, "rm")
    root = settings.storage.path
    plan = _plan(root, _targets(Names(settings), images))
    if not as_json:
        _print(plan)
    if not dry_run:
        _confirm(yes=yes, as_json=as_json)
        asyncio.run(_remove(root, plan))
    if as_json:
        typer.echo(json.dumps(_as_json(plan, removed=not dry_run), indent=2))
    elif not dry_run:
        typer.echo("Removed.")


def _targets(names: Names, images: Iterable[str]) -> dict[Source, list[Reference]]:
    """Return the references to remove, by repository. An empty list means the whole repository."""
    targets: dict[Source, list[Reference]] = {}
    whole = set()
    for text in images:
        source, reference = names.parse(text)
        references = targets.setdefault(source, [])
        if reference is None:
            whole.add(source)
        else:
            references.append(reference)
    return {source: [] if source in whole else references for source, references in targets.items()}


def _plan(root: Path, targets: dict[Source, list[Reference]]) -> RemovalPlan:
    """Return what the removal does. Raise FailedError if a target is not cached."""
    with read_site(root) as site:
        plan = plan_removal(site.index, targets)
    missing = list(_missing(plan, targets))
    if missing:
        raise FailedError(
            f"not cached: {', '.join(missing)}. Nothing was removed. `registry-proxy ls` lists the cached images."
        )
    return plan


def _missing(plan: RemovalPlan, targets: dict[Source, list[Reference]]) -> Iterator[str]:
    for source, removal in plan.removals.items():
        if not targets[source] and not removal.names and not removal.digests:
            yield str(source)
        for reference in removal.unknown:
            yield f"{source}:{reference}" if isinstance(reference, Tag) else f"{source}@{reference}"


def _print(plan: RemovalPlan) -> None:
    for source, removal in plan.removals.items():
        tags = ", ".join(sorted(name for name in removal.names if ":" not in name))
        count = len(removal.digests)
        typer.echo(
            f"{source}: {f'tags {tags}' if tags else 'no tag'}, {count} manifest{'s' * (count != 1)} and layers"
        )
    typer.echo(f"This frees {size_text(sum(plan.freed.values()))}. Content that other images use stays.")


def _confirm(*, yes: bool, as_json: bool) -> None:
    """Ask for confirmation. Raise UsageError without a terminal, typer.Exit if the user declines."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation without a terminal; nothing was removed. Add --yes to remove the images, or "
            "--dry-run to list what would be removed"
        )
    if not typer.confirm("Remove these images?"):
        raise typer.Exit(FAILED)


async def _remove(root: Path, plan: RemovalPlan) -> None:
    async with borrow_site(root, create=False) as site:
        locks = site.locks
        await Remover(site.store, site.index, NamedLocks(locks), lambda: count_workers(locks) > 0).run(plan)


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
