"""docs/dependencies.md and the locks cover what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
DEV: list[str] = PROJECT["dependency-groups"]["dev"]
BUILD: list[str] = PROJECT["build-system"]["requires"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~!\[; ]", requirement)[0].lower() for requirement in requirements}


def pinned(lock: str) -> dict[str, str]:
    """The pinned versions of a lock; what has no hash is left out."""
    text = (ROOT / "requirements" / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:", text, re.MULTILINE))


def test_every_dependency_is_explained_and_no_other_is() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    explained = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert sorted(explained) == sorted(names(RUNTIME) | names(DEV) | names(BUILD))


@pytest.mark.parametrize(
    ("lock", "wanted"), [("runtime.txt", RUNTIME), ("dev.txt", DEV), ("build.txt", BUILD)]
)
def test_every_dependency_is_locked(lock: str, wanted: list[str]) -> None:
    assert names(wanted) <= set(pinned(lock))


@pytest.mark.parametrize(
    ("lock", "wanted"), [("runtime.txt", RUNTIME), ("dev.txt", DEV), ("build.txt", BUILD)]
)
def test_every_lock_has_a_version_that_is_asked_for(lock: str, wanted: list[str]) -> None:
    versions = pinned(lock)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes_and_no_lock_names_an_address(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)) == set(pinned(path.name))
    assert not re.search(r"://|--(?:extra-)?index|--find-links|--trusted-host", text)


def test_the_locks_agree() -> None:
    versions: dict[str, set[str]] = {}
    for path in LOCKS:
        for name, version in pinned(path.name).items():
            versions.setdefault(name, set()).add(version)
    assert [name for name, found in versions.items() if len(found) > 1] == []
