"""The users of the system that is installed into: this one, or one in a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from registry_proxy.commands.install.commands import run
from registry_proxy.commands.install.plan import Change, Done, InstallError


@dataclass(frozen=True, slots=True)
class Account:
    """A user's and its group's number."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """Users by name, from `etc/passwd` below `root`: system users of services are nowhere else."""

    root: Path

    def find(self, name: str) -> Account | None:
        """The user; None when there is none of that name."""
        path = self.root / "etc/passwd"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            fields = line.split(":")
            if fields[0] == name and len(fields) == 7:
                return Account(int(fields[2]), int(fields[3]))
        return None

    def get(self, name: str) -> Account:
        """The user. Raises InstallError."""
        account = self.find(name)
        if account is None:
            raise InstallError(f"there is no user {name} in {self.root / 'etc/passwd'}.")
        return account


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A step: the user that `definition`, a file for systemd-sysusers, describes."""

    name: str
    definition: Path
    accounts: Accounts

    def change(self) -> Change | None:
        """The user, where there is none."""
        return None if self.accounts.find(self.name) else Change("create", f"user {self.name}")

    def apply(self) -> Done:
        """Make it."""
        # By its bare name it is looked for below the root.
        run(["systemd-sysusers", f"--root={self.accounts.root}", self.definition.name])
        return Done(undo=lambda: _remove(self.name, self.accounts.root))


@dataclass(frozen=True, slots=True)
class RemovedUser:
    """A step: no such user any more."""

    name: str
    accounts: Accounts

    def change(self) -> Change | None:
        """The user, where there is one."""
        return Change("remove", f"user {self.name}") if self.accounts.find(self.name) else None

    def apply(self) -> Done:
        """Remove it at the end, when what it owned is gone."""
        if shutil.which("userdel") is None:
            raise InstallError("userdel is missing: install the package passwd.")
        return Done(commit=lambda: _remove(self.name, self.accounts.root))


def _remove(name: str, root: Path) -> None:
    prefix = [] if root == Path("/") else ["--prefix", str(root)]
    run(["userdel", *prefix, name])
