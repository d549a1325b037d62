"""The form of log lines, in a terminal, in a file and in systemd's journal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import logging
from registry_proxy.observe.logs import configure_logs
configure_logs("debug", STYLE)
log = logging.getLogger("registry_proxy.cache")
log.debug("one")
log.info("two")
log.warning("three %s", 3)
log.error("four\\nlines")
for _ in range(100):
    log.error("four\\nlines")
"""


def logged(file: Path, style: str = "text", *, to_journal: bool = False, zone: str = "UTC") -> list[str]:
    """Return the lines that a program logs to a file. `to_journal`: the file counts as the journal's."""
    with file.open("w+") as stream:
        status = os.fstat(stream.fileno())
        journal = f"{status.st_dev}:{status.st_ino}" if to_journal else f"{status.st_dev}:1"
        subprocess.run(
            [sys.executable, "-c", CODE.replace("STYLE", repr(style))],
            stderr=stream,
            env={**os.environ, "JOURNAL_STREAM": journal, "TZ": zone},
            check=True,
            timeout=60,
        )
    return file.read_text().splitlines()


@pytest.mark.parametrize(("zone", "offset"), [("UTC", "+00:00"), ("Asia/Kolkata", "+05:30")])
def test_the_time_of_a_line_has_its_zone(tmp_path: Path, zone: str, offset: str) -> None:
    lines = logged(tmp_path / "log", zone=zone)
    form = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}{re.escape(offset)} DEBUG   registry_proxy\.cache\[\d+\]: one"
    assert re.fullmatch(form, lines[0])
    assert [line.partition("]: ")[2] for line in lines] == ["one", "two", "three 3", "four", ""]


def test_the_journal_gets_priorities_and_no_second_time(tmp_path: Path) -> None:
    lines = logged(tmp_path / "log", to_journal=True)
    assert [re.sub(r"\[\d+\]", "", line) for line in lines] == [
        "<7>DEBUG   registry_proxy.cache: one",
        "<6>INFO    registry_proxy.cache: two",
        "<4>WARNING registry_proxy.cache: three 3",
        "<3>ERROR   registry_proxy.cache: four",
        "<3>lines",
    ]


@pytest.mark.parametrize("to_journal", [False, True])
def test_json_is_the_same_everywhere(tmp_path: Path, *, to_journal: bool) -> None:
    entries = [json.loads(line) for line in logged(tmp_path / "log", "json", to_journal=to_journal)]
    assert [entry["message"] for entry in entries] == ["one", "two", "three 3", "four\nlines"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", entries[0]["time"])
