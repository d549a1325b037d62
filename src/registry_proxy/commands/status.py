"""`registry-proxy status`: the state of the cache, drawn."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from registry_proxy.cache.results import Outcome
from registry_proxy.commands.formatting import ago, count_text, percent, size_text, timestamp
from registry_proxy.commands.opening import open_store
from registry_proxy.maintenance.status import StatusReader

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry_proxy.config import Settings
    from registry_proxy.maintenance.status import FillStatus, RegistryStatus, Status

_BAR = 30
_SELDOM = ("Stale", "Joined", "Passed")
_WATCH_EVERY = 2.0
# Where no terminal tells its width.
_WIDTH = 160


def run(settings: Settings, *, as_json: bool, watch: bool) -> None:
    """Tell the state, with `watch` again and again. Raises StoreError or IndexFailedError."""
    if as_json:
        typer.echo(json.dumps(_as_json(_look(settings)), indent=2))
        return
    console = make_console()
    if not watch:
        console.print(_drawn(_look(settings), settings))
        return
    with (
        suppress(KeyboardInterrupt),
        Live(_drawn(_look(settings), settings), console=console, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(_WATCH_EVERY)
            live.update(_drawn(_look(settings), settings), refresh=True)


def make_console() -> Console:
    """Standard output; wide where it is no terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


def make_table() -> Table:
    """A table that wastes no width: 80 columns should do."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")


def _look(settings: Settings) -> Status:
    registries = [upstream.registry for upstream in settings.upstreams.values()]
    storage = settings.storage
    with open_store(storage.path) as opened:
        surveyor = StatusReader(opened.index, opened.store, opened.locks, registries, storage.max_size)
        return asyncio.run(surveyor.look(time.time()))


def _as_json(survey: Status) -> dict[str, object]:
    return {
        "workers": survey.workers,
        "bytes_used": survey.used,
        "bytes_allowed": survey.limit or None,
        "counted_since": timestamp(survey.since),
        "registries": [_registry_as_json(registry) for registry in survey.registries],
        "fills": [_fill_as_json(fill) for fill in survey.fills],
    }


def _registry_as_json(registry: RegistryStatus) -> dict[str, object]:
    return {
        "registry": registry.registry,
        "repositories": registry.repositories,
        "tags": registry.tags,
        "bytes": registry.size,
        "answers": {outcome.value: count for outcome, count in registry.answers.items()},
        "bytes_served": registry.served,
        "bytes_fetched": registry.fetched,
        "bytes_saved": registry.saved,
    }


def _fill_as_json(fill: FillStatus) -> dict[str, object]:
    return {
        "digest": str(fill.digest),
        "sources": [str(source) for source in fill.sources],
        "bytes": fill.size,
        "bytes_stored": fill.stored,
        "idle_seconds": round(fill.idle, 1),
    }


def _drawn(survey: Status, settings: Settings) -> RenderableType:
    parts: list[RenderableType] = [_summary(survey, settings), Text(), _registries(survey)]
    if survey.fills:
        parts += [Text(), _fills(survey)]
    return Group(*parts)


def _summary(survey: Status, settings: Settings) -> Table:
    table = Table.grid(padding=(0, 2))
    workers = f"running, {survey.workers} worker{'s' if survey.workers > 1 else ''}"
    table.add_row("Server", workers if survey.workers else "not running")
    table.add_row("Store", str(settings.storage.path))
    if survey.limit:
        share = f"{size_text(survey.used)} of {size_text(survey.limit)}, {percent(survey.used, survey.limit)}"
        bar = ProgressBar(survey.limit, min(survey.used, survey.limit), width=_BAR)
        table.add_row("Budget", _beside(bar, share))
    else:
        table.add_row("Budget", f"{size_text(survey.used)}, no limit")
    if survey.since:
        moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(survey.since))
        table.add_row("Counted", f"since {moment}")
    return table


def _beside(bar: ProgressBar, text: str) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_row(bar, text)
    return row


def _registries(survey: Status) -> Table:
    answered = {
        "Hits": [each.answers[Outcome.HIT] + each.answers[Outcome.REVALIDATED] for each in survey.registries],
        "Stale": [each.answers[Outcome.STALE] for each in survey.registries],
        "Misses": [each.answers[Outcome.MISS] for each in survey.registries],
        "Joined": [each.answers[Outcome.JOINED] for each in survey.registries],
        "Passed": [each.answers[Outcome.PASSED] for each in survey.registries],
    }
    # What is seldom takes no room while there is none of it.
    shown = {title: counts for title, counts in answered.items() if any(counts) or title not in _SELDOM}
    table = make_table()
    table.add_column("Registry", overflow="fold")
    for title in ("Repos", "Tags", "Kept", *shown, "Served", "Saved"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, registry in enumerate(survey.registries):
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


def _fills(survey: Status) -> Table:
    table = make_table()
    table.add_column("Coming in", overflow="fold")
    table.add_column("Blob", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Progress", no_wrap=True)
    table.add_column("Last byte", no_wrap=True)
    for fill in survey.fills:
        table.add_row(
            ", ".join(str(source) for source in fill.sources) or "-",
            fill.digest.hex[:12],
            ProgressBar(fill.size or 1, fill.stored, width=_BAR // 3),
            f"{percent(fill.stored, fill.size)} of {size_text(fill.size)}",
            ago(time.time() - fill.idle, time.time()),
        )
    return table
