"""Errors that the commands of a running cache share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands.server import Site

COMMANDS = {
    "status": [],
    "ls": [],
    "rm": ["alpine"],
    "adopt": [".", "--upstream", "dockerhub"],
}


@pytest.mark.parametrize(("command", "arguments"), COMMANDS.items(), ids=COMMANDS)
def test_a_wrong_configuration_is_told_and_exits_2(site: Site, command: str, arguments: list[str]) -> None:
    site.settings["server_workers"] = "many"
    assert "server.workers" in site.run(command, *arguments, code=2).stderr


@pytest.mark.parametrize("command", ["status", "ls", "rm"])
def test_without_a_store_they_say_where_they_looked(site: Site, command: str) -> None:
    done = site.run(command, *COMMANDS[command], code=1)
    assert f"no store in {site.store}; start the server once" in done.stderr
    assert not site.store.exists()
