"""The command line: `python -m bench`."""

import dataclasses
import itertools
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.figures import Results, missed
from bench.measures import FULL, MEASURES, QUICK, Plan
from bench.processes import BenchError
from bench.report import Report, split_document
from bench.runner import Runner
from bench.servers import SERVERS, Server

_MEASURE_NAMES = ", ".join(MEASURES)
_SERVER_NAMES = ", ".join(server.name for server in SERVERS)
_TERMINATED = 128 + signal.SIGTERM


_Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help=f"A measure, or a prefix of measures; repeatable: {_MEASURE_NAMES}."),
]
_Server = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help=f"A server; repeatable: {_SERVER_NAMES}.")
]
_Rounds = Annotated[int | None, typer.Option(min=1, help="Rounds; the figures are their medians.")]
_Quick = Annotated[
    bool,
    typer.Option("--quick", help="A smoke run of a few seconds: coarse figures, and no goal is enforced."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON with every sample instead of tables.")]
_Write = Annotated[Path | None, typer.Option(metavar="FILE", help="Rewrite the figures in this document.")]


def bench(
    only: _Only = None,
    server: _Server = None,
    rounds: _Rounds = None,
    quick: _Quick = False,
    as_json: _Json = False,
    write: _Write = None,
) -> None:
    """Compare registry-proxy with docker-registry and nginx, each pinned to the same core.

    The exit code is 1 if a goal is missed, and 2 if a measurement fails.

    Examples:

      python -m bench --write docs/benchmarks.md

      python -m bench --only manifest --server registry-proxy --server nginx --rounds 1
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that started processes are stopped
    measures = [name for name in MEASURES if not only or name.startswith(tuple(only))]
    servers = [candidate for candidate in SERVERS if not server or candidate.name in server]
    if not measures or len(servers) < len(set(server or ())):
        raise typer.BadParameter(f"the measures are {_MEASURE_NAMES}; the servers are {_SERVER_NAMES}")
    plan = QUICK if quick else FULL
    plan = dataclasses.replace(plan, rounds=rounds or plan.rounds)
    try:
        if write:
            split_document(write)  # fail before the run if the document has no markers
        report = Report(_run(servers, measures, plan), plan)
        if write:
            report.write(write)
    except BenchError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(2) from error
    if as_json:
        print(report.json())
    else:
        report.print(Console())
    if missed(report.results) and not quick:
        raise typer.Exit(1)


def _run(servers: Sequence[Server], measures: Sequence[str], plan: Plan) -> Results:
    console = Console(stderr=True)
    if not console.is_terminal:
        return Runner(servers, measures, plan, lambda step: console.print(step, highlight=False)).run()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # No refreshing thread: it would take time from the load generator.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        task = progress.add_task("")

        def show(step: str) -> None:
            progress.update(task, description=step, completed=next(finished), refresh=True)

        finished = itertools.count()
        runner = Runner(servers, measures, plan, show)
        progress.update(task, total=runner.steps)
        return runner.run()


if __name__ == "__main__":
    typer.run(bench)
