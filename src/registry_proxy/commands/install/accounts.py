"""System users of the target system, which is this one or another one in a directory."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from registry_proxy.commands.changes.plan import Change, ChangeError, Done
from registry_proxy.commands.install.processes import Identity, run


@dataclass(frozen=True, slots=True)
class Account:
    """The user ID and the group ID of a user."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """Users by name, from `etc/passwd` below `root`: system users of services are only defined there."""

    root: Path

    def find(self, name: str) -> Account | None:
        """Return the user, None if there is no user of that name."""
        path = self.root / "etc/passwd"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            fields = line.split(":")
            if fields[0] == name and len(fields) == 7:
                return Account(int(fields[2]), int(fields[3]))
        return None

    def get(self, name: str) -> Account:
        """Return the user. Raise ChangeError if there is none."""
        account = self.find(name)
        if account is None:
            raise ChangeError(f"there is no user {name} in {self.root / 'etc/passwd'}.")
        return account

    def identity(self, name: str) -> Identity:
        """Return the identity of a process of the user. Raise ChangeError if there is no such user."""
        account = self.get(name)
        return Identity(account.uid, account.gid, tuple(os.getgrouplist(name, account.gid)))

    def ids(self, user: str | None, group: str | None) -> tuple[int, int] | None:
        """Return the IDs of a user and of another user's group, None while one is missing. A name of None is root."""
        root = Account(0, 0)
        owner = self.find(user) if user else root
        owning_group = self.find(group) if group else root
        return (owner.uid, owning_group.gid) if owner and owning_group else None


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Create the user of `definition`, a file for systemd-sysusers."""

    name: str
    definition: Path
    accounts: Accounts

    def changes(self) -> list[Change]:
        """Return the user, if it is missing."""
        return [] if self.accounts.find(self.name) else [Change("create", f"user {self.name}")]

    def apply(self) -> Done:
        # systemd-sysusers searches for a bare file name below the root.
        run(["systemd-sysusers", f"--root={self.accounts.root}", self.definition.name])
        return Done(undo=lambda: _remove_user(self.name, self.accounts.root))


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove a user."""

    name: str
    accounts: Accounts

    def changes(self) -> list[Change]:
        """Return the user, if it exists."""
        return [Change("remove", f"user {self.name}")] if self.accounts.find(self.name) else []

    def apply(self) -> Done:
        """Remove it on commit, after its files."""
        if shutil.which("userdel") is None:
            raise ChangeError("userdel is missing: install the package passwd.")
        return Done(commit=lambda: _remove_user(self.name, self.accounts.root))


def _remove_user(name: str, root: Path) -> None:
    prefix = [] if root == Path("/") else ["--prefix", str(root)]
    run(["userdel", *prefix, name])
