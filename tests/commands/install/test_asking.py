"""What is asked at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest
from tests.kit.processes import environment

PROGRAM = Path(sys.executable).with_name("registry-proxy")
DOWN, ENTER = "\x1b[B", "\r"


def terminal(folder: Path, *arguments: str, path: str = "/usr/bin:/bin") -> pexpect.spawn[str]:
    env = environment({"HOME": str(folder), "TERM": "xterm", "PATH": path})
    return pexpect.spawn(
        str(PROGRAM),
        [*arguments],
        cwd=str(folder),
        env=env,
        encoding="utf-8",
        timeout=30,
        dimensions=(60, 200),
    )


def ended(session: pexpect.spawn[str]) -> int | None:
    session.expect(pexpect.EOF)
    session.close()
    return session.exitstatus


@pytest.mark.parametrize(("answer", "code", "written"), [("y", 0, True), ("n", 1, False), ("", 1, False)])
def test_what_changes_is_shown_and_done_only_after_a_yes(
    tmp_path: Path, answer: str, code: int, written: bool
) -> None:
    session = terminal(tmp_path, "install", "compose", "--no-start")
    session.expect("create .*docker-compose.yaml")
    session.expect("Apply these changes")
    assert not (tmp_path / "docker-compose.yaml").exists()
    session.sendline(answer)
    assert ended(session) == code
    assert (tmp_path / "docker-compose.yaml").exists() is written


def test_without_a_kind_it_is_asked_for(tmp_path: Path) -> None:
    session = terminal(tmp_path, "install", path=str(tmp_path))
    session.expect("What to install")
    session.send(DOWN)
    session.send(ENTER)
    session.expect("docker isn't installed")
    assert ended(session) == 1


def test_nothing_is_done_when_no_kind_is_chosen(tmp_path: Path) -> None:
    session = terminal(tmp_path, "uninstall")
    session.expect("What to uninstall")
    session.sendcontrol("c")
    assert ended(session) == 1
    assert list(tmp_path.iterdir()) == []
