"""The dialogue about a plan: show the changes as diffs without secrets, ask for confirmation, report the result."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.changes.plan import carry_out
from registry_proxy.commands.common import FailedError, UsageError

if TYPE_CHECKING:
    from registry_proxy.commands.changes.plan import Change, PendingStep, Plan

# Returns a text without its secrets.
Mask = Callable[[str], str]
# Returns the JSON document of a run: from the changes, and whether they were carried out.
Document = Callable[[Sequence["Change"], bool], Mapping[str, object]]
MASK = "********"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of every command that makes changes."""

    yes: bool = False
    as_json: bool = False
    dry_run: bool = False


def unmasked(text: str) -> str:
    """Return a text without secrets as it is."""
    return text


def hidden(_: str) -> str:
    """Return nothing: the whole text is secret."""
    return ""


def mask_of(secrets: Sequence[str]) -> Mask:
    """Return a mask that replaces each of these secrets."""

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, f"{MASK}\n" if secret.endswith("\n") else MASK)
        return text

    return mask


def diff_text(path: str, before: bytes | None, after: bytes | None, mask: Mask = unmasked) -> str:
    """Return the unified diff of a file; None is a missing file."""
    (old_name, old), (new_name, new) = (
        ("/dev/null", []) if content is None else (path, mask(content.decode(errors="replace")).splitlines())
        for content in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, old_name, new_name, lineterm=""))


def apply_plan(
    plan: Plan,
    options: RunOptions,
    document: Document,
    *,
    question: str = "Apply these changes?",
    progress: bool = False,
    ask: Callable[[str], bool] = typer.confirm,
) -> bool:
    """Show the plan, ask for confirmation and carry it out. Return whether anything was done.

    With `progress`, print each change on stderr when it begins. With `as_json`, print only the document. Raise
    FailedError or UsageError; then nothing was changed.
    """
    pending = plan.pending()
    changes = [change for step in pending for change in step.changes]
    if not options.as_json:
        _show(changes, plan.warnings)
    done = bool(pending) and not options.dry_run
    if done:
        _confirm(options, question, ask)
        carry_out(pending, _print_progress if progress and not options.as_json else None)
    if options.as_json:
        typer.echo(json.dumps(document(changes, done), indent=2))
    else:
        _report(plan, needed=bool(pending), done=done)
    return done


def _show(changes: Sequence[Change], warnings: Sequence[str]) -> None:
    for change in changes:
        typer.echo(f"{change.action:<7} {change.subject}")
        for line in change.diff.splitlines():
            typer.echo(f"    {line}")
    for warning in warnings:
        typer.echo(warning, err=True)


def _print_progress(step: PendingStep) -> None:
    for change in step.changes:
        typer.echo(f"  {change.action} {change.subject} ...", err=True)


def _confirm(options: RunOptions, question: str, ask: Callable[[str], bool]) -> None:
    if options.yes:
        return
    if options.as_json or not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation without a terminal; nothing was changed. Add --yes to apply the changes."
        )
    if not ask(question):
        raise FailedError("nothing was changed.")


def _report(plan: Plan, *, needed: bool, done: bool) -> None:
    if done:
        typer.echo("Done.")
    else:
        typer.echo("Nothing was changed." if needed else "Nothing to change.")
    for remark in plan.remarks if done or not needed else ():
        typer.echo(remark)
