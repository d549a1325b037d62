"""`registry-proxy install` and `uninstall`: choose the kind of installation, and apply its plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.show import RunOptions, apply_plan
from registry_proxy.commands.common import FailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry_proxy.commands.changes.plan import Change, Plan

_KINDS = {
    "systemd": "systemd: a service of this system",
    "compose": "compose: containers, by Docker Compose",
}


def ask_kind(command: str) -> str:
    """Ask for `systemd` or `compose` at the terminal. Raise UsageError without one, FailedError if it is cancelled."""
    import questionary  # noqa: PLC0415 - slow to load, and only used here

    if not sys.stdin.isatty():
        raise UsageError(
            f"missing kind of installation. Run registry-proxy {command} systemd or registry-proxy {command} compose."
        )
    choices = [questionary.Choice(title, value) for value, title in _KINDS.items()]
    answer = questionary.select(f"What to {command}?", choices).ask()
    if answer is None:
        raise FailedError("nothing was changed.")
    return str(answer)


def apply(plan: Plan, options: RunOptions) -> None:
    """Show the plan, ask for confirmation and carry it out. Raise FailedError or UsageError."""

    def document(changes: Sequence[Change], done: bool) -> dict[str, object]:
        return {
            "changes": [
                {"action": each.action, "subject": each.subject, "diff": each.diff} for each in changes
            ],
            "done": done,
            "notes": [*plan.warnings, *plan.remarks],
        }

    apply_plan(plan, options, document, progress=True)
