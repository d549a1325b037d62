"""`install systemd` where systemd doesn't run: into the folder of another system, as for an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commands.install.booted import make_root
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


UNIT = "/etc/systemd/system/registry-proxy.service"


def test_the_service_is_installed_there_and_removed_again(tmp_path: Path) -> None:
    path = tmp_path / "system"
    make_root(path)
    root = Root(path)
    before = root.entries()
    told = root.program("install", "systemd", "--yes")
    assert f"The service starts when the system in {path} boots." in told
    wanted = path / "etc/systemd/system/multi-user.target.wants/registry-proxy.service"
    assert wanted.readlink() == Path(UNIT)
    assert (path / "opt/registry-proxy/bin/registry-proxy").stat().st_mode & 0o777 == 0o755
    assert "registry-proxy:x:" in (path / "etc/passwd").read_text()
    assert "registry-proxy:x:" not in Path("/etc/passwd").read_text()

    assert root.program("install", "systemd", "--yes").startswith("Nothing to change.")

    root.program("uninstall", "systemd", "--purge", "--yes")
    left = {entry for entry in root.entries() - before if not (path / entry).is_dir()}
    # What the tools for users keep beside their files.
    assert {entry for entry in left if not entry.endswith(("-", ".pwd.lock", "shadow"))} == set()
    assert "registry-proxy" not in (path / "etc/passwd").read_text()
