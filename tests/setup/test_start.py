"""Serving needs nothing of the set-up."""

from __future__ import annotations

import subprocess
import sys


def test_a_worker_loads_nothing_of_the_setup() -> None:
    code = "import sys, registry_proxy.commands, registry_proxy.service; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    setup = ("ruamel", "registry_proxy.commands.config.questions", "registry_proxy.commands.client.plan")
    assert not [name for name in loaded if name.startswith(setup)]
