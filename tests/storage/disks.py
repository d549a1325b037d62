"""Disks to fill up (tmpfs mounts, which need root), and broken ones."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


@contextmanager
def small_disk(at: Path, options: str) -> Iterator[Path]:
    """A tmpfs with mount options such as `size=1m` or `nr_inodes=20`."""
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


def make_read_only(disk: Path) -> None:
    """As the kernel does with a disk that fails."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@contextmanager
def broken(call: str, code: int = errno.EIO, module: ModuleType = os) -> Iterator[None]:
    """The operating system's `call` fails with `code`."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, call, fail)
        yield
