"""What the commands that look after a cache have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest
from tests.commands.server import PROGRAM

if TYPE_CHECKING:
    from tests.commands.server import Site

COMMANDS = {
    "status": [],
    "ls": [],
    "rm": ["alpine"],
    "adopt": [".", "--upstream", "dockerhub"],
}


@pytest.mark.parametrize("command", [*COMMANDS, "doctor"])
def test_the_help_ends_with_an_example(site: Site, command: str) -> None:
    last = site.run(command, "--help").stdout.strip().splitlines()[-1]
    assert last.strip().startswith(f"Example: registry-proxy {command}")


@pytest.mark.parametrize(("command", "arguments"), COMMANDS.items(), ids=COMMANDS)
def test_a_wrong_configuration_is_told_and_exits_2(site: Site, command: str, arguments: list[str]) -> None:
    site.settings["server_workers"] = "many"
    assert "server.workers" in site.run(command, *arguments, code=2).stderr


@pytest.mark.parametrize("command", ["status", "ls", "rm"])
def test_without_a_store_they_say_where_they_looked(site: Site, command: str) -> None:
    done = site.run(command, *COMMANDS[command], code=1)
    assert f"nothing is stored in {site.store} yet" in done.stderr
    assert not site.store.exists()


def test_status_is_shown_again_until_it_is_interrupted(site: Site) -> None:
    with site.serving():
        pass
    terminal: pexpect.spawn[str] = pexpect.spawn(
        str(PROGRAM),
        ["status", "--watch"],
        env=site.env,
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 120),
        cwd=str(site.folder),
    )
    try:
        for _ in range(2):
            terminal.expect("not running")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close()
    assert terminal.exitstatus == 0
