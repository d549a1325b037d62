"""Time of a start with many images: `python -m bench.start`.

The index is filled as by pulls of images for two platforms, and the server starts as users start it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from tests.kit.many_images import fill

_PROGRAM = Path(sys.executable).with_name("registry-proxy")
_READY = "listening on"
_ROUNDS = 3


def main(
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Starts; each time is printed.")] = _ROUNDS,
) -> None:
    """Fill an index, start the server on it, and print the seconds until it serves."""
    with tempfile.TemporaryDirectory() as root:
        print(f"filling an index with {images} images ...", flush=True)
        fill(Path(root), images)
        size = (Path(root) / "index.db").stat().st_size
        config = Path(root) / "registry-proxy.toml"
        config.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\n[storage]\npath = "{root}"\n')
        for _ in range(rounds):
            print(f"{_start(config):6.2f} s until the server serves, with an index of {size / 1e6:.0f} MB")


def _start(config: Path) -> float:
    begun = time.perf_counter()
    command = [str(_PROGRAM), "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        next(line for line in server.stderr if _READY in line)
        seconds = time.perf_counter() - begun
        server.terminate()
        server.communicate()
    return seconds


if __name__ == "__main__":
    typer.run(main)
