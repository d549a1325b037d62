"""`install systemd` where systemd doesn't run: into the folder of another system, as for an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.install.booted import make_root
from tests.kit.processes import environment

PROGRAM = Path(sys.executable).with_name("registry-proxy")


class Root:
    """A system in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def program(self, *arguments: str, code: int = 0) -> str:
        command = [str(PROGRAM), *arguments, "--root", str(self.path)]
        done = subprocess.run(
            command, cwd=self.path.parent, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done
        return done.stdout

    def entries(self) -> set[str]:
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """With the service installed."""
    path = tmp_path_factory.mktemp("root") / "system"
    make_root(path)
    root = Root(path)
    root.program("install", "systemd", "--yes")
    return root


UNIT = "/etc/systemd/system/registry-proxy.service"


def test_everything_is_there_and_starts_with_that_system(root: Root) -> None:
    wanted = root.path / "etc/systemd/system/multi-user.target.wants/registry-proxy.service"
    assert wanted.readlink() == Path(UNIT)
    assert (root.path / "opt/registry-proxy/bin/registry-proxy").stat().st_mode & 0o777 == 0o755
    users = (root.path / "etc/passwd").read_text()
    assert "registry-proxy:x:" in users
    assert "registry-proxy:x:" not in Path("/etc/passwd").read_text()


def test_a_second_time_nothing_changes(root: Root) -> None:
    assert root.program("install", "systemd", "--yes").startswith("Nothing to change.")


def test_purging_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "system"
    make_root(path)
    root = Root(path)
    before = root.entries()
    root.program("install", "systemd", "--yes")
    assert "opt/registry-proxy/bin/python" in root.entries()
    root.program("uninstall", "systemd", "--purge", "--yes")
    left = {entry for entry in root.entries() - before if not (root.path / entry).is_dir()}
    # Copies that the tools for users keep of their files.
    assert {entry for entry in left if not entry.endswith(("-", ".pwd.lock", "shadow"))} == set()
    assert "registry-proxy" not in (root.path / "etc/passwd").read_text()
