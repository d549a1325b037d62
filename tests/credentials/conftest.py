"""Programs to run, a clock, and work in the background that ends with the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.kit.clock import ManualClock

from registry_proxy.aio.tasks import background_tasks
from registry_proxy.oci.reference import Repository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from registry_proxy.aio.tasks import BackgroundTasks

APP = Repository("acme/app")


@dataclass(frozen=True)
class Scripts:
    """Shell scripts, as somebody's programs that know passwords."""

    folder: Path

    def __call__(self, name: str, *lines: str) -> str:
        """Write one; its path. It notes each of its runs."""
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", f"echo run >>{self.folder}/{name}.runs", *lines]) + "\n")
        path.chmod(0o700)
        return str(path)

    def runs(self, name: str) -> int:
        """How often it was run."""
        notes = self.folder / f"{name}.runs"
        return len(notes.read_text().splitlines()) if notes.exists() else 0


@pytest.fixture
def script(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def background() -> AsyncIterator[BackgroundTasks]:
    async with background_tasks() as background:
        yield background
