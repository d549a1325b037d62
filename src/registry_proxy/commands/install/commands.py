"""Programs that the installation runs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.install.plan import Change, Done, InstallError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a program runs, by numbers."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def run(
    arguments: Sequence[str],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    identity: Identity | None = None,
    streamed: bool = False,
    merged: bool = False,
) -> str:
    """What a program writes to its output, `merged` with its errors.

    `streamed`: it goes to our stderr as it comes, and nothing is returned.

    Raises InstallError with what it said when it fails.
    """
    try:
        done = subprocess.run(  # noqa: S603
            arguments,
            cwd=folder,
            env=environ,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=identity.groups if identity else None,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if streamed else subprocess.PIPE,
            stderr=None if streamed else subprocess.STDOUT if merged else subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        raise InstallError(f"can't run {arguments[0]}: {error.strerror}.") from None
    if done.returncode:
        said = "see above" if streamed else (done.stderr or done.stdout).decode(errors="replace").strip()
        raise InstallError(f"`{shlex.join(arguments)}` ended with {done.returncode}: {said}")
    return "" if streamed else done.stdout.decode(errors="replace")


def succeeds(arguments: Sequence[str], *, folder: Path | None = None) -> bool:
    """Whether a program is there and ends well."""
    try:
        run(arguments, folder=folder)
    except InstallError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Command:
    """A step: a program to run, and the one that takes it back."""

    arguments: Sequence[str]
    undo: Sequence[str] = ()
    folder: Path | None = None
    streamed: bool = False

    def change(self) -> Change:
        """The command line."""
        return Change("run", shlex.join(self.arguments))

    def apply(self) -> Done:
        """Run it."""
        run(self.arguments, folder=self.folder, streamed=self.streamed)
        if not self.undo:
            return Done()
        return Done(undo=lambda: run(self.undo, folder=self.folder, streamed=self.streamed))
