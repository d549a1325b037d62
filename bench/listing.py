"""Time of `ls` and `status` with many images: `python -m bench.listing`.

The index is filled as by pulls of images for two platforms, and the commands run as users run them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from tests.kit.many_images import fill

_PROGRAM = Path(sys.executable).with_name("registry-proxy")
_ROUNDS = 5
_COMMANDS = (
    ("--version",),
    ("ls",),
    ("ls", "--json"),
    ("ls", "docker.io/acme/app7"),
    ("ls", "--sort", "size", "--limit", "20"),
    ("status",),
    ("status", "--json"),
)


def main(
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 5000,
    rounds: Annotated[
        int, typer.Option(min=1, help="Runs of each command; the median is printed.")
    ] = _ROUNDS,
) -> None:
    """Fill an index, run the commands, and print the seconds that each takes."""
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), images)
        environ = {**os.environ, "HOME": root, "REGISTRY_PROXY_STORAGE_PATH": root}
        for command in _COMMANDS:
            seconds = median(_run(command, environ) for _ in range(rounds))
            print(f"{seconds:6.2f} s  registry-proxy {' '.join(command)}")


def _run(command: tuple[str, ...], environ: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run([_PROGRAM, *command], env=environ, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    typer.run(main)
