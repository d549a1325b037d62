"""Report of the results: tables on the terminal, JSON, and the figures section of the document."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from bench.figures import DIRECT, FIGURES, FLOOR, GOALS, OURS, PEER, Goal, Results
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from bench.measures import Plan

_BEGIN = "<!-- figures: written by make bench -->"
_END = "<!-- end of the figures -->"
_LABELS = {figure.key: figure for figure in FIGURES}
_COLUMNS = (OURS, PEER, FLOOR, DIRECT)


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a run, and its plan."""

    results: Results
    plan: Plan

    def print(self, console: Console) -> None:
        """Print the tables of figures and goals."""
        console.print(self._summary())
        for title, (header, rows) in (("Figures", self._figures()), ("Goals", self._goals())):
            table = Table(title=title, title_justify="left")
            for column, name in enumerate(header):
                table.add_column(name, justify="left" if column == 0 else "right")
            for row in rows:
                table.add_row(*row)
            console.print(table)

    def json(self) -> str:
        """Return every sample, the medians and the goals as JSON."""
        results = self.results
        medians = {
            server: {key: results.value(server, key) for key in figures}
            for server, figures in results.samples.items()
        }
        goals = [
            asdict(goal) | {"measured": goal.measured(results), "met": goal.met(results)} for goal in GOALS
        ]
        return json.dumps(
            {
                "date": str(date.today()),  # noqa: DTZ011 - the day in the reader's time zone
                "machine": _machine(),
                "versions": _versions(),
                "plan": asdict(self.plan),
                "others_share": results.others_share,
                "units": {figure.key: figure.unit for figure in FIGURES},
                "samples": results.samples,
                "medians": medians,
                "goals": goals,
            },
            indent=2,
        )

    def write(self, document: Path) -> None:
        """Replace the text between the two markers of `document`."""
        before, after = split_document(document)
        parts = [self._summary(), _markdown(*self._figures()), "### Goals", _markdown(*self._goals())]
        document.write_text("\n\n".join([f"{before}{_BEGIN}", *parts, f"{_END}{after}"]))

    def _summary(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
        plan = self.plan
        return (
            f"{date.today()}, {_machine()}. {versions}. "  # noqa: DTZ011
            f"Median of {plan.rounds} rounds, blobs of {plan.layer_size >> 20} MiB, {plan.connections} connections "
            f"for manifests, {plan.clients} clients for “many clients”. "
            f"Other programs used {self.results.others_share:.0%} of the machine."
        )

    def _figures(self) -> tuple[list[str], list[list[str]]]:
        servers = [name for name in _COLUMNS if name in self.results.samples]
        peers = [name for name in (PEER, FLOOR) if OURS in servers and name in servers]
        header = ["figure", "unit", *servers, *(f"ratio to {peer}" for peer in peers)]
        rows = []
        for figure in FIGURES:
            values = [self.results.value(server, figure.key) for server in servers]
            ratios = [self.results.ratio(OURS, figure.key, peer, figure.key) for peer in peers]
            if any(value is not None for value in values):
                cells = [_cell(value, figure.format) for value in values]
                rows.append([figure.label, figure.unit, *cells, *(_cell(ratio, ".3f") for ratio in ratios)])
        return header, rows

    def _goals(self) -> tuple[list[str], list[list[str]]]:
        outcomes = {None: "not measured", True: "met", False: "NOT MET"}
        rows = []
        for goal in GOALS:
            figure = _LABELS[goal.key]
            form, unit = (".3f", "") if goal.base else (figure.format, figure.unit)
            measured = _cell(goal.measured(self.results), form)
            outcome = outcomes[goal.met(self.results)] + (" (an aim)" if goal.is_aim else "")
            rows.append([figure.label, _divisor(goal), measured, f"{goal.limit:g}", unit, outcome])
        return ["goal", "relative to", "measured", "at most", "unit", "outcome"], rows


def split_document(document: Path) -> tuple[str, str]:
    """Return the text before and after the figures of `document`. Raise BenchError if a marker is missing."""
    try:
        before, begin, rest = document.read_text().partition(_BEGIN)
    except OSError as error:
        raise BenchError(
            f"{document}: {error.strerror}; specify a document that you can read and write"
        ) from error
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise BenchError(f"{document}: add the lines {_BEGIN} and {_END} where the figures should go")
    return before, after


def _divisor(goal: Goal) -> str:
    return f"{goal.base}, {_LABELS[goal.base_key].label}" if goal.base_key else goal.base


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(header)} |"
        yield f"|---|{'---:|' * (len(header) - 1)}"
        for row in rows:
            yield f"| {' | '.join(row)} |"

    return "\n".join(lines())


def _machine() -> str:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = ".".join(platform.release().split(".")[:2])
    name = processor[1] if processor else platform.machine()
    return f"{name}, Linux {kernel}, Python {platform.python_version()}"


def _versions() -> dict[str, str]:
    return {
        OURS: version("registry-proxy"),
        PEER: _printed_version(["docker-registry", "--version"]),
        FLOOR: _printed_version(["nginx", "-v"]),
    }


def _printed_version(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+\S*", ended.stdout + ended.stderr)
    return found[0] if found else "?"
