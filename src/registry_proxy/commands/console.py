"""Console output of the commands: tables and progress bars."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

# The width in columns if the output is not a terminal.
_WIDTH = 160


def make_console() -> Console:
    """Return a console on standard output. It is wide if that is not a terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


def report_console(*, stderr: bool = False) -> Console:
    """Return a console that leaves long lines to the terminal, so that they can be copied."""
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def make_table() -> Table:
    """Return an empty table without padding, to fit into 80 columns."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")


def byte_progress(console: Console) -> Progress:
    """Return a progress bar over bytes. It shows nothing if the console is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
