"""The memory of a worker: every module that it loads, it keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Only commands that draw, ask or write files use these.
LIBRARIES = {"rich", "pygments", "tomlkit", "questionary", "prompt_toolkit", "jinja2", "ruamel"}
OWN = "registry_proxy.commands"
# The parts of `commands` that every command has, and a worker's own command.
SERVING = {OWN, f"{OWN}.group", f"{OWN}.common", f"{OWN}.serve"}


AT_EXIT = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.__stdout__))"


def loaded(code: str) -> set[str]:
    """Return the names of the modules that a program has loaded at its end. It prints to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"{AT_EXIT}; sys.stdout = sys.stderr; {code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return set(done.stdout.split())


def of_commands(modules: set[str]) -> set[str]:
    return {name for name in modules if f"{name}.".startswith(f"{OWN}.")}


def test_a_worker_loads_no_other_command_and_none_of_its_libraries() -> None:
    modules = loaded(f"import {OWN}, registry_proxy.service, {OWN}.serve")
    assert of_commands(modules) == SERVING
    assert not {name.partition(".")[0] for name in modules} & LIBRARIES


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["lss"]])
def test_the_list_of_commands_loads_none(arguments: list[str]) -> None:
    modules = loaded(f"sys.argv[1:] = {arguments}; from {OWN} import main; main()")
    assert of_commands(modules) == SERVING - {f"{OWN}.serve"}
