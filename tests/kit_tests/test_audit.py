"""What pip-audit reports, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit.audit import LOCKS, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

SOUND = {"name": "yarl", "version": "1.25.1", "vulns": []}
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found"}
FLAWED = {
    "name": "aiohttp",
    "version": "3.14.3",
    "vulns": [{"id": "GHSA-2g87-pp6c-29x5", "fix_versions": ["3.14.5"], "aliases": []}],
}


def report(*packages: Mapping[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_vulnerability_fails_the_check() -> None:
    found = verdict(report(SOUND, FLAWED, SKIPPED))
    assert found.found
    assert "aiohttp 3.14.3: GHSA-2g87-pp6c-29x5, fixed in 3.14.5" in found.text
    assert "2 packages checked, 1 vulnerabilities found." in found.text


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", "null"])
def test_a_database_that_is_not_available_does_not(text: str) -> None:
    assert verdict(text).text == "not checked: the database is not available."
    assert not verdict(text).found


def test_what_the_database_does_not_have_passes_for_no_success() -> None:
    assert verdict(report(SOUND)).text == "1 packages checked, 0 vulnerabilities found."
    assert "1 packages checked" in verdict(report(SOUND, SKIPPED)).text
    assert (
        "not checked, because the database does not have them: idna." in verdict(report(SOUND, SKIPPED)).text
    )
    assert verdict(report(SKIPPED)).text == "not checked: the database has none of the packages."
    assert not verdict(report(SKIPPED)).found


def test_all_locks_are_checked() -> None:
    assert {path.name for path in LOCKS} == {"runtime.txt", "build.txt", "dev.txt"}
    assert Path(".ci/run").read_text().count("make audit") == 1
