"""What TLS costs a worker that has none, or that is not in charge of certificates."""

from __future__ import annotations

import subprocess
import sys

import pytest

ACME = {"acme", "josepy", "requests", "OpenSSL"}


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("registry_proxy.commands, registry_proxy.service", {"cryptography", *ACME}),
        ("registry_proxy.service.wiring.tls", ACME),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(modules: str, unwanted: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(done.stdout.split()) & unwanted
