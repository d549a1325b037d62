"""`registry-proxy status`: the state of the cache."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from registry_proxy.cache.results import Outcome
from registry_proxy.commands.common import ConfigOption, JsonOption, command, settings_loader
from registry_proxy.commands.compose_file import require_store
from registry_proxy.commands.console import make_console, make_table
from registry_proxy.commands.formatting import (
    ago,
    clock_time,
    count_text,
    local_time,
    percent,
    size_text,
    timestamp,
)
from registry_proxy.maintenance.status import StatusReader
from registry_proxy.service.site import read_site

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry_proxy.config import Settings
    from registry_proxy.index.base import Outage
    from registry_proxy.maintenance.status import FillStatus, RegistryStatus, Status

_BAR = 30  # columns
_RARE = ("Stale", "Joined", "Passed", "Errors")
_WATCH_INTERVAL = 2.0  # seconds


@command("Example: registry-proxy status --watch")
def status(
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print it again every two seconds, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the cached content, the results of requests and the running transfers, by registry.

    The command reads the store's index, so the server may be stopped. Numbers of a running server appear after a few
    seconds.

    Hits were served from the cache, stale ones because the registry was unavailable. Misses were downloaded, joined
    requests shared a download, and passed responses did not fit into the store. Errors are responses without content;
    the log has the cause of each. Saved is the part of the served bytes that was not downloaded.
    """
    settings = settings_loader(config)()
    require_store(settings, config, "status")
    if as_json:
        typer.echo(json.dumps(_as_json(asyncio.run(_read(settings))), indent=2))
    elif not watch:
        make_console().print(_render(asyncio.run(_read(settings)), settings))
    else:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(settings))


async def _watch(settings: Settings) -> None:
    """Print the status again and again, in one event loop: a loop that ends with each status loses some Ctrl-C."""
    first = _render(await _read(settings), settings)
    with Live(first, console=make_console(), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            live.update(_render(await _read(settings), settings), refresh=True)


async def _read(settings: Settings) -> Status:
    registries = [upstream.registry for upstream in settings.upstreams.values()]
    storage = settings.storage
    with read_site(storage.path) as site:
        reader = StatusReader(site.index, site.store, site.locks, registries, storage.max_size)
        return await reader.read(time.time())


def _as_json(state: Status) -> dict[str, object]:
    return {
        "workers": state.workers,
        "bytes_used": state.used,
        "bytes_allowed": state.limit or None,
        "counted_since": timestamp(state.since),
        "errors_without_registry": dict(state.errors),
        "registries": [_registry_as_json(registry) for registry in state.registries],
        "fills": [_fill_as_json(fill) for fill in state.fills],
    }


def _registry_as_json(registry: RegistryStatus) -> dict[str, object]:
    return {
        "registry": registry.registry,
        "repositories": registry.repositories,
        "tags": registry.tags,
        "bytes": registry.size,
        "answers": {outcome.value: count for outcome, count in registry.responses.items()},
        "errors": dict(registry.errors),
        "failing": registry.outage and _outage_as_json(registry.outage),
        "bytes_served": registry.served,
        "bytes_fetched": registry.fetched,
        "bytes_saved": registry.saved,
    }


def _outage_as_json(outage: Outage) -> dict[str, object]:
    return {
        "since": timestamp(outage.since),
        "next_attempt_at": timestamp(outage.retry_at),
        "cause": outage.cause,
    }


def _fill_as_json(fill: FillStatus) -> dict[str, object]:
    return {
        "digest": str(fill.digest),
        "sources": [str(source) for source in fill.sources],
        "bytes": fill.size,
        "bytes_stored": fill.stored,
        "idle_seconds": round(fill.idle, 1),
    }


def _render(state: Status, settings: Settings) -> RenderableType:
    parts: list[RenderableType] = [_summary(state, settings), Text(), _registries(state)]
    outages = [registry.outage for registry in state.registries if registry.outage is not None]
    if outages:
        parts += [Text(), _outages(outages)]
    if state.fills:
        parts += [Text(), _fills(state)]
    return Group(*parts)


def _summary(state: Status, settings: Settings) -> Table:
    table = Table.grid(padding=(0, 2))
    workers = f"running, {state.workers} worker{'s' if state.workers > 1 else ''}"
    table.add_row("Server", workers if state.workers else "not running")
    table.add_row("Store", str(settings.storage.path))
    if state.limit:
        share = f"{size_text(state.used)} of {size_text(state.limit)}, {percent(state.used, state.limit)}"
        bar = ProgressBar(state.limit, min(state.used, state.limit), width=_BAR)
        table.add_row("Budget", _side_by_side(bar, share))
    else:
        table.add_row("Budget", f"{size_text(state.used)}, no limit")
    if state.since:
        table.add_row("Counted", f"since {local_time(state.since)}")
    return table


def _side_by_side(bar: ProgressBar, text: str) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_row(bar, text)
    return row


def _registries(state: Status) -> Table:
    results = {
        "Hits": [
            each.responses[Outcome.HIT] + each.responses[Outcome.REVALIDATED] for each in state.registries
        ],
        "Stale": [each.responses[Outcome.STALE] for each in state.registries],
        "Misses": [each.responses[Outcome.MISS] for each in state.registries],
        "Joined": [each.responses[Outcome.COLLAPSED] for each in state.registries],
        "Passed": [each.responses[Outcome.PASS_THROUGH] for each in state.registries],
        "Errors": [sum(each.errors.values()) for each in state.registries],
    }
    # Rare results have a column only if there are any.
    shown = {title: counts for title, counts in results.items() if any(counts) or title not in _RARE}
    table = make_table()
    table.add_column("Registry", overflow="fold")
    for title in ("Repos", "Tags", "Kept", *shown, "Served", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, registry in enumerate(state.registries):
        table.add_row(
            registry.registry,
            count_text(registry.repositories),
            count_text(registry.tags),
            size_text(registry.size),
            *(count_text(counts[number]) for counts in shown.values()),
            size_text(registry.served),
            size_text(registry.saved),
        )
    return table


def _outages(outages: list[Outage]) -> Table:
    table = make_table()
    table.add_column("Failing", no_wrap=True)
    table.add_column("Since", no_wrap=True)
    table.add_column("Next attempt", no_wrap=True)
    table.add_column("Cause", overflow="fold")
    for outage in outages:
        due = outage.retry_at > time.time()
        attempt = f"from {clock_time(outage.retry_at)}" if due else "at the next pull"
        table.add_row(outage.registry, local_time(outage.since), attempt, outage.cause)
    return table


def _fills(state: Status) -> Table:
    table = make_table()
    table.add_column("In progress", overflow="fold")
    table.add_column("Blob", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Progress", no_wrap=True)
    table.add_column("Last byte", no_wrap=True)
    for fill in state.fills:
        table.add_row(
            ", ".join(str(source) for source in fill.sources) or "-",
            fill.digest.hex[:12],
            ProgressBar(fill.size or 1, fill.stored, width=_BAR // 3),
            f"{percent(fill.stored, fill.size)} of {size_text(fill.size)}",
            ago(time.time() - fill.idle, time.time()),
        )
    return table
