"""What `registry-proxy install` and `uninstall` do: make the plan, show it, ask, carry it out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.install import plan as planning
from registry_proxy.commands.install.plan import InstallError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry_proxy.commands.install.plan import Change, Pending, Plan

_KINDS = {
    "systemd": "systemd: a service of this system",
    "compose": "compose: containers, by Docker Compose",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it."""

    yes: bool
    dry_run: bool
    as_json: bool


def ask_kind(command: str) -> str:
    """`systemd` or `compose`, as is chosen at the terminal. Raises UsageError, FailedError."""
    import questionary  # noqa: PLC0415 - only here, and slow to load

    if not sys.stdin.isatty():
        raise UsageError(f"say which: registry-proxy {command} systemd, or registry-proxy {command} compose.")
    choices = [questionary.Choice(title, value) for value, title in _KINDS.items()]
    answer = questionary.select(f"What to {command}?", choices).ask()
    if answer is None:
        raise FailedError("nothing was changed.")
    return str(answer)


def carry_out(make: Callable[[], Plan], manner: Manner) -> None:
    """Do what the plan says, after it was shown and agreed to. Raises ConfigError, FailedError, UsageError."""
    try:
        plan = make()
        pending = plan.pending()
        changes = [each.change for each in pending if each.change is not None]
        if not manner.as_json:
            _show(changes)
            for warning in plan.warnings:
                typer.echo(warning, err=True)
        if pending and not manner.dry_run:
            _agree(manner)
            planning.carry_out(pending)
    except InstallError as error:
        raise FailedError(str(error)) from error
    _tell(plan, pending, changes, manner)


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        typer.echo(f"{change.action:<7} {change.subject}")
        for line in change.diff.splitlines():
            typer.echo(f"    {line}")


def _agree(manner: Manner) -> None:
    if manner.yes:
        return
    if manner.as_json or not sys.stdin.isatty():
        raise UsageError("nothing was changed: there is no terminal to ask at. Add --yes to do it.")
    if not typer.confirm("Do this?"):
        raise FailedError("nothing was changed.")


def _tell(plan: Plan, pending: Sequence[Pending], changes: Sequence[Change], manner: Manner) -> None:
    done = bool(pending) and not manner.dry_run
    if manner.as_json:
        document = {
            "changes": [
                {"action": each.action, "subject": each.subject, "diff": each.diff} for each in changes
            ],
            "done": done,
            "notes": [*plan.warnings, *plan.remarks],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    if not pending:
        typer.echo("Nothing to change.")
    elif manner.dry_run:
        typer.echo("Nothing was changed.")
    else:
        typer.echo("Done.")
    for remark in plan.remarks if done or not pending else ():
        typer.echo(remark)
