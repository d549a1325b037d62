"""Other programs that the installation runs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Change, ChangeError, Done

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and the groups of a process, by their IDs."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def run(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    identity: Identity | None = None,
    streamed: bool = False,
    merged: bool = False,
) -> str:
    """Run a program and return its output; `merged` includes its error output.

    With `streamed`, the output goes to stderr while the program runs, and nothing is returned.
    Raise ChangeError with the output if the program fails.
    """
    try:
        done = subprocess.run(  # noqa: S603
            arguments,
            cwd=directory,
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
        raise ChangeError(f"can't run {arguments[0]}: {error.strerror}.") from None
    if done.returncode:
        output = "see above" if streamed else (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ChangeError(f"`{shlex.join(arguments)}` failed with exit code {done.returncode}: {output}")
    return "" if streamed else done.stdout.decode(errors="replace")


def succeeds(
    arguments: Sequence[str], *, directory: Path | None = None, identity: Identity | None = None
) -> bool:
    """Return whether a program exists and exits with code 0."""
    try:
        run(arguments, directory=directory, identity=identity)
    except ChangeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a program; `undo` is the command that reverts it."""

    arguments: Sequence[str]
    undo: Sequence[str] = ()
    directory: Path | None = None
    streamed: bool = False

    def changes(self) -> list[Change]:
        return [Change("run", shlex.join(self.arguments))]

    def apply(self) -> Done:
        run(self.arguments, directory=self.directory, streamed=self.streamed)
        if not self.undo:
            return Done()
        return Done(undo=lambda: run(self.undo, directory=self.directory, streamed=self.streamed))
