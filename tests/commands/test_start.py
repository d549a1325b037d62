"""The memory of a worker: every module that it loads, it keeps."""

from __future__ import annotations

import subprocess
import sys

# Only commands that draw, ask or write files use these.
LIBRARIES = {"rich", "pygments", "tomlkit", "questionary", "prompt_toolkit", "jinja2", "ruamel"}
COMMANDS = (
    "registry_proxy.commands.config.questions",
    "registry_proxy.commands.client.plan",
)


def loaded(code: str) -> set[str]:
    """Return the names of the modules that a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_a_worker_loads_no_other_command_and_none_of_its_libraries() -> None:
    modules = loaded("import registry_proxy.commands, registry_proxy.service")
    assert not {name.partition(".")[0] for name in modules} & LIBRARIES
    assert not [name for name in modules if name.startswith(COMMANDS)]
