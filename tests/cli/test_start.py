"""What every worker pays for the command line."""

from __future__ import annotations

import subprocess
import sys

# What only drawing commands need.
DRAWING = ("rich", "pygments", "tomlkit", "questionary", "prompt_toolkit", "jinja2")


def test_a_worker_loads_nothing_that_draws() -> None:
    code = "import sys, registry_proxy.commands; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(done.stdout.split()) & set(DRAWING)
