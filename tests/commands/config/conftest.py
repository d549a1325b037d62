"""The program in a folder of its own: unattended, or at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from registry_proxy.config import Settings, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("registry-proxy")
KNOWN = {preset.name: preset for preset in PRESETS}


@dataclass
class Desk:
    """A folder in which `registry-proxy config` runs."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "registry-proxy.toml"

    @property
    def env(self) -> Path:
        return self.folder / ".env"

    @property
    def environ(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_PROXY_")
        }
        # Else the terminal is asked where its cursor is, and this one doesn't answer.
        return {**inherited, "HOME": str(self.folder), "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}

    def __call__(self, *arguments: str, code: int = 0, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        done = subprocess.run(
            [PROGRAM, "config", *arguments],
            cwd=self.folder,
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def settings(self) -> Settings:
        return load(self.file, {}, KNOWN)

    def document(self) -> dict[str, Any]:
        return tomllib.loads(self.file.read_text())

    def everything(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """Run it at a terminal."""
        child: pexpect.spawn[str] = pexpect.spawn(
            str(PROGRAM),
            ["config", *arguments],
            cwd=str(self.folder),
            env=self.environ,
            encoding="utf-8",
            timeout=30,
            dimensions=(60, 200),
        )
        try:
            yield Terminal(child)
        finally:
            child.close(force=True)


@dataclass
class Terminal:
    """What somebody does at it."""

    child: pexpect.spawn[str]

    def answer(self, question: str, keys: str = "") -> None:
        """Wait for a question, type an answer, and return."""
        self.child.expect_exact(question)
        self.child.send(f"{keys}\r")

    def confirm(self, question: str, key: str) -> None:
        """Wait for a yes-or-no question, and press a key."""
        self.child.expect_exact(question)
        self.child.send(key)

    def see(self, text: str) -> None:
        self.child.expect_exact(text)

    def end(self, code: int = 0) -> str:
        """Wait for the end; what was shown last."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == code, self.child.before
        return str(self.child.before)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder)
