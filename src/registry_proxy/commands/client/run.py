"""What `registry-proxy client` does."""

from __future__ import annotations

import difflib
import getpass
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.client.applying import ChangeSet, applying, undoing
from registry_proxy.commands.client.kinds import KINDS, Kind
from registry_proxy.commands.client.machine import Change, Found, Machine
from registry_proxy.commands.client.needs import check_admission, read_ca, read_identity
from registry_proxy.commands.client.plan import SECRET, Login, View, make_plan
from registry_proxy.commands.client.server import ClientError, server_of
from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.passwords import PasswordError, checked, password_from_stdin, password_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry_proxy.config import Settings

_MASK = "********"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the options say of the client and its way to the server."""

    server: str | None
    ca: Path | None
    certificate: Path | None
    key: Path | None
    username: str | None
    password_file: Path | None
    password_stdin: bool
    everything: bool
    user: bool

    def view(self, settings: Settings, home: str) -> View:
        """What the client's files are made from. Raises ClientError, PasswordError, UsageError."""
        login, identity = self._login(), read_identity(self.certificate, self.key)
        check_admission(settings, login, identity)
        server, authority = server_of(settings, self.server), read_ca(settings, self.ca)
        return View(server, home, authority, identity, login, self.user, self.everything)

    def _login(self) -> Login | None:
        if self.username is None:
            if self.password_file or self.password_stdin:
                raise UsageError("a password without --username.")
            return None
        if not self.username or ":" in self.username:
            raise UsageError("--username must have at least one character, and no colon.")
        return Login(self.username, self._password())

    def _password(self) -> str:
        if self.password_file and self.password_stdin:
            raise UsageError("--password-file and --password-stdin exclude each other.")
        if self.password_file:
            return password_in(self.password_file)
        if self.password_stdin:
            return password_from_stdin()
        if sys.stdin.isatty():
            return checked(getpass.getpass(f"Password of {self.username}: "), "this")
        raise UsageError("--username takes --password-file or --password-stdin, or a terminal to ask at.")


@dataclass(frozen=True, slots=True)
class Where:
    """The machine that the options name."""

    ssh: str | None
    ssh_options: tuple[str, ...]
    sudo: bool

    def machine(self) -> Machine:
        """The one. Raises UsageError."""
        if self.ssh is None:
            if self.sudo or self.ssh_options:
                raise UsageError("--sudo and --ssh-options go with --ssh; here: sudo registry-proxy client …")
            return Machine(["sh"], "this machine")
        if self.ssh.startswith("-"):
            raise UsageError(f"{self.ssh} is not a host.")
        shell = ["sudo", "-n", "sh"] if self.sudo else ["sh"]
        return Machine(["ssh", "-T", *self.ssh_options, self.ssh, *shell], self.ssh)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it."""

    yes: bool
    as_json: bool
    restart: bool


def show(name: str, settings: Settings, needs: Needs, where: Where, manner: Manner) -> None:
    """Print all files, as they would be on a machine without any."""
    if where.ssh or manner.restart:
        raise UsageError("--ssh and --restart go with --apply or --undo.")
    with _explained():
        view = needs.view(settings, str(Path.home()))
        plan = make_plan(_kind(name).planner, view, dict.fromkeys)
    notes = (*view.server.notes, *plan.notes)
    if manner.as_json:
        files = [{"path": file.path, "mode": f"{file.mode:o}", "content": file.text} for file in plan.files]
        typer.echo(json.dumps({"kind": name, "files": files, "notes": notes}, indent=2))
        return
    for file in plan.files:
        private = " (for its owner alone)" if file.mode == SECRET else ""
        typer.echo(f"==> {file.path}{private} <==\n{file.text}")
    for note in notes:
        typer.echo(note, err=True)


def apply(name: str, settings: Settings, needs: Needs, where: Where, manner: Manner) -> None:
    """Change the machine's files."""
    kind = _kind(name)
    if not kind.applicable:
        raise UsageError(f"{name} has no files that can be changed on a machine: leave --apply out.")
    with _explained():
        machine = where.machine()
        view = needs.view(settings, machine.home())
        if where.ssh and view.server.is_local:
            raise ClientError(
                f"the server listens to this machine only: {where.ssh} can't reach it. Change server.listen, or say "
                "by --server how it is reached."
            )
        work = applying(machine, name, kind.planner, view)
        notes = (*view.server.notes, *work.notes)
        _carry_out(work, machine, manner, notes, view.secrets())


def undo(name: str, where: Where, manner: Manner, *, user: bool) -> None:
    """Give the machine's files back as they were."""
    _kind(name)
    with _explained():
        machine = where.machine()
        work = undoing(machine, name, machine.home(), user=user)
        _carry_out(work, machine, manner, (), None)


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise UsageError(f"{name} is not a known client. Known are {', '.join(KINDS)}.")
    return KINDS[name]


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ClientError, PasswordError) as error:
        raise FailedError(str(error)) from error


def _carry_out(
    work: ChangeSet, machine: Machine, manner: Manner, notes: Sequence[str], secrets: Sequence[str] | None
) -> None:
    if not manner.as_json:
        for change in work.changes:
            typer.echo(_difference(change, secrets))
        for note in notes:
            typer.echo(note, err=True)
    if work.changes or work.bookkeeping:
        _agree(machine, manner)
        work.do(machine)
    _tell(work, machine, manner, notes)
    if manner.restart:
        _restart(work, machine)


def _restart(work: ChangeSet, machine: Machine) -> None:
    for command in work.restarts:
        try:
            machine.run(command)
        except ClientError as error:
            raise FailedError(f"the files are changed, but `{command}` failed: {error}") from None


def _agree(machine: Machine, manner: Manner) -> None:
    if manner.yes:
        return
    if manner.as_json or not sys.stdin.isatty():
        raise UsageError("nothing was changed: there is no terminal to ask at. Add --yes to do it.")
    if not typer.confirm(f"Do this on {machine.name}?"):
        raise FailedError("nothing was changed.")


def _tell(work: ChangeSet, machine: Machine, manner: Manner, notes: Sequence[str]) -> None:
    if manner.as_json:
        document = {
            "machine": machine.name,
            "written": [change.path for change in work.changes if change.after is not None],
            "removed": [change.path for change in work.changes if change.after is None],
            "restart": work.restarts,
            "notes": notes,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    count = len(work.changes)
    typer.echo(
        f"{machine.name}: {count} {'file' if count == 1 else 'files'} changed."
        if count
        else f"{machine.name}: nothing had to be changed."
    )
    if not manner.restart:
        for command in work.restarts:
            typer.echo(f"For the client to know, run there: {command}")


def _difference(change: Change, secrets: Sequence[str] | None) -> str:
    """A unified diff, with the secrets masked; without knowing them, private files aren't shown."""
    before = change.before if isinstance(change.before, Found) else None
    sides = [side for side in (before, change.after) if side is not None]
    if secrets is None and any(side.mode & 0o077 == 0 for side in sides):
        return f"{'removed' if change.after is None else 'put back'}: {change.path}"
    texts = [_masked(side, secrets or ()).splitlines() if side else [] for side in (before, change.after)]
    names = [change.path if side else "/dev/null" for side in (before, change.after)]
    lines = list(difflib.unified_diff(texts[0], texts[1], names[0], names[1], lineterm=""))
    return "\n".join(lines) if lines else f"{change.path}: its mode changes"


def _masked(file: Found, secrets: Sequence[str]) -> str:
    text = file.content.decode(errors="replace")
    for secret in secrets:
        text = text.replace(secret, f"{_MASK}\n" if secret.endswith("\n") else _MASK)
    return text
