"""`make run`, `config` and `install` leave the program on the PATH, and no other program loses its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kit.processes import ROOT, environment

PROGRAM = Path(sys.executable).with_name("registry-proxy")


def link(links: Path, path: str) -> str:
    """Make the link as after an installation of the environment; the output."""
    virtual = Path(sys.prefix)
    done = subprocess.run(
        [
            "make",
            "--no-print-directory",
            f"--old-file={virtual}/.project",
            "link",
            f"VENV={virtual}",
            f"LINKS={links}",
        ],
        cwd=ROOT,
        env=environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_program_is_on_the_path_afterwards(tmp_path: Path) -> None:
    links = tmp_path / "bin"
    assert f'run: export PATH="{links}:$PATH"' in link(links, "/usr/bin:/bin")
    assert (links / "registry-proxy").readlink() == PROGRAM
    assert link(links, f"{links}:/usr/bin:/bin") == ""


def test_another_program_of_that_name_stays(tmp_path: Path) -> None:
    other = tmp_path / "registry-proxy"
    other.symlink_to("/usr/bin/true")
    assert f"registry-proxy on the PATH is {other}." in link(tmp_path, f"{tmp_path}:/usr/bin:/bin")
    assert other.readlink() == Path("/usr/bin/true")


def test_a_link_to_a_removed_environment_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "registry-proxy").symlink_to("/nothing/.venv/bin/registry-proxy")
    link(tmp_path, "/usr/bin:/bin")
    assert (tmp_path / "registry-proxy").readlink() == PROGRAM
