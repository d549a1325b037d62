"""`install systemd` where systemd doesn't run: into the folder of another system, as for an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
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


def test_the_defaults_of_the_dialogue_can_be_installed(tmp_path: Path) -> None:
    path = tmp_path / "system"
    make_root(path)
    child: pexpect.spawn[str] = pexpect.spawn(
        str(PROGRAM),
        ["config"],
        cwd=str(tmp_path),
        env=environment({"HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}),
        encoding="utf-8",
        timeout=60,
        dimensions=(60, 200),
    )
    child.expect_exact("How will the server run?")
    # The first choice is the service; it is the default where systemd runs.
    child.send("\r" if Path("/run/systemd/system").is_dir() else "\x1b[A\x1b[A\r")
    child.expect_exact("Which registries to cache?")
    child.send("\r")
    child.expect_exact("Host names of the cache?")
    child.send("\x1b[B\x1b[B\r")  # none
    for question in (
        "Credentials",
        "Certificates?",
        "Where to listen",
        "Who may pull?",
        "Where to store",
        "How much",
    ):
        child.expect_exact(question)
        child.send("\r")
    child.expect_exact("Apply these changes?")
    child.send("\r")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    told = Root(path).program("install", "systemd", "--yes")
    assert f"The service starts when the system in {path} boots." in told
    config = path / "etc/registry-proxy/registry-proxy.toml"
    assert config.read_text() == (tmp_path / "registry-proxy.toml").read_text()
    assert "StateDirectory=registry-proxy" in (path / UNIT.lstrip("/")).read_text()


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
