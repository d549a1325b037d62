"""`registry-proxy client`: show the client's files, apply them to a machine, or undo that."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.changes.plan import Plan
from registry_proxy.commands.changes.show import RunOptions, apply_plan
from registry_proxy.commands.client.change_set import ChangeFiles, ChangeSet, apply_changes, undo_changes
from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.kinds import KINDS, Kind
from registry_proxy.commands.client.planner import SECRET, make_plan
from registry_proxy.commands.client.script import client_script
from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.invocation import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry_proxy.commands.changes.plan import Change
    from registry_proxy.commands.client.machine import Machine
    from registry_proxy.commands.client.options import ClientOptions, Target
    from registry_proxy.config import Settings


def show(name: str, settings: Settings, options: ClientOptions, *, as_json: bool) -> None:
    """Print all files as they would be on a machine without any."""
    inputs = options.inputs(settings, str(Path.home()))
    plan = make_plan(_kind(name).planner, inputs, dict.fromkeys)
    notes = (*inputs.server.notes, *plan.notes)
    if as_json:
        files = [{"path": file.path, "mode": f"{file.mode:o}", "content": file.text} for file in plan.files]
        typer.echo(json.dumps({"kind": name, "files": files, "notes": notes}, indent=2))
        return
    for file in plan.files:
        private = " (readable only by its owner)" if file.mode == SECRET else ""
        typer.echo(f"==> {file.path}{private} <==\n{file.text}")
    for note in notes:
        typer.echo(note, err=True)
    if _kind(name).applicable:
        typer.echo(_where_to_run(local=inputs.server.is_local, root=not options.user), err=True)


def _where_to_run(*, local: bool, root: bool) -> str:
    """Return how these files get onto a client. The command itself runs next to the server's configuration."""
    command = command_line(*sys.argv[1:])
    here = f"To write the files on this machine, run: {command_line(*sys.argv[1:], '--apply', root=root)}"
    if local:
        return f"{here}\nOther machines can't reach the server: it only listens on this one (server.listen)."
    return (
        f"{here}\nOn another machine, through ssh: {command} --apply --ssh root@HOST\n"
        f"On another machine, by hand: {command} --script > mirror.sh, then there, as root: sh mirror.sh"
    )


def print_script(name: str, settings: Settings, options: ClientOptions) -> None:
    """Print the script that creates the files on a machine without this program. Raise FailedError or UsageError."""
    if not _kind(name).applicable:
        raise UsageError(f"{name} has no files that can be changed on a machine: omit --script.")
    if options.user:
        raise UsageError("--script writes the system's files: omit --user.")
    inputs = options.inputs(settings, str(Path.home()))
    if inputs.server.is_local:
        typer.echo("The server only listens on this machine: other machines can't reach it.", err=True)
    plan = make_plan(_kind(name).planner, inputs, dict.fromkeys)
    typer.echo(client_script(name, plan.files), nl=False)
    for note in (*inputs.server.notes, *plan.notes):
        typer.echo(note, err=True)


def apply(
    name: str,
    settings: Settings,
    options: ClientOptions,
    target: Target,
    run_options: RunOptions,
    *,
    restart: bool,
) -> None:
    """Change the machine's files. Raise FailedError or UsageError; then nothing was changed."""
    kind = _kind(name)
    if not kind.applicable:
        raise UsageError(f"{name} has no files that can be changed on a machine: omit --apply.")
    machine = target.machine()
    inputs = options.inputs(settings, machine.home())
    if target.ssh and inputs.server.is_local:
        raise ClientError(
            f"the server only listens on this machine: {target.ssh} can't reach it. Change server.listen, or pass "
            "the address for clients with --server."
        )
    change_set = apply_changes(machine, name, kind.planner, inputs)
    step = ChangeFiles(machine, change_set, inputs.secrets())
    _carry_out(step, (*inputs.server.notes, *change_set.notes), run_options, restart=restart)


def undo(
    name: str, target: Target, run_options: RunOptions, *, user: bool, restart: bool, force: bool
) -> None:
    """Restore the machine's previous files. Raise FailedError or UsageError; then nothing was changed."""
    _kind(name)
    machine = target.machine()
    change_set = undo_changes(machine, name, machine.home(), user=user, force=force)
    _carry_out(ChangeFiles(machine, change_set), (), run_options, restart=restart)


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise UsageError(f"{name} is not a known client. Known are {', '.join(KINDS)}.")
    return KINDS[name]


def _carry_out(step: ChangeFiles, notes: tuple[str, ...], options: RunOptions, *, restart: bool) -> None:
    machine, change_set = step.machine, step.change_set
    commands = () if restart else change_set.restarts
    plan = Plan(
        [],
        closing=[step],
        # The record can change without a change to the client's files, which are the changes of the step.
        due=bool(change_set.files or change_set.bookkeeping),
        warnings=notes,
        remarks=tuple(
            f"To make the client read its files, run on {machine.name}: {each}" for each in commands
        ),
    )

    def document(_: Sequence[Change], __: bool) -> dict[str, object]:
        return {
            "machine": machine.name,
            "written": [change.path for change in change_set.files if change.after is not None],
            "removed": [change.path for change in change_set.files if change.after is None],
            "restart": change_set.restarts,
            "notes": notes,
        }

    apply_plan(plan, options, document, question=f"Apply these changes to {machine.name}?")
    if restart:
        _restart(change_set, machine)


def _restart(change_set: ChangeSet, machine: Machine) -> None:
    for command in change_set.restarts:
        try:
            machine.run(command)
        except ClientError as error:
            raise FailedError(f"the files are changed, but `{command}` failed: {error}") from None
