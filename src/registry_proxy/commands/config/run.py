"""`registry-proxy config`: ask all questions, show the resulting files, and write them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.changes.plan import Plan
from registry_proxy.commands.changes.show import RunOptions, apply_plan
from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.config.answers import Answers
from registry_proxy.commands.config.context import Context, Flags
from registry_proxy.commands.config.draft import KNOWN, Draft, make_draft
from registry_proxy.commands.config.prompter import DefaultsPrompter
from registry_proxy.commands.config.questions import ask_all, summary
from registry_proxy.config import find_config_file, load
from registry_proxy.config.layers import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry_proxy.commands.changes.plan import Change
    from registry_proxy.commands.config.prompter import Prompter

# The exit code of a program that Ctrl-C ended, as shells report it.
_INTERRUPTED = 130
_NO_TERMINAL = (
    "cannot ask without a terminal. Use options instead of the questions, and add --yes to write the files, or "
    "--json to print them: --registry, --domain or --hostname, --username with --password-file or --password-stdin, "
    "--certificates, --listen, --access, --path, --max-size. registry-proxy config --help lists all options, "
    "with examples."
)


def run(file: Path | None, flags: Flags, *, yes: bool, as_json: bool) -> None:
    """Ask, show, write. Raise FailedError, UsageError or ConfigError; then nothing was written."""
    path = (file or find_config_file() or Path("registry-proxy.toml")).absolute()
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not yes and not as_json
    if not interactive and not yes and not as_json:
        raise UsageError(_NO_TERMINAL)
    if not as_json:
        _check_writable(path.parent)
    prompter = _prompter(interactive=interactive)
    options = RunOptions(yes, as_json, dry_run=as_json)
    try:
        draft = _ask(path, flags, prompter)
        done = _apply(draft, options, prompter)
    except (KeyboardInterrupt, EOFError):
        typer.echo("\nNothing was changed.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if done:
        _print_next_steps(path)


def _prompter(*, interactive: bool) -> Prompter:
    if not interactive:
        return DefaultsPrompter(lambda text: typer.echo(text, err=True))
    from registry_proxy.commands.config.terminal import TerminalPrompter  # noqa: PLC0415 - slow to load

    return TerminalPrompter(typer.echo)


def _ask(path: Path, flags: Flags, prompter: Prompter) -> Draft:
    old = load(path, {}, KNOWN) if path.exists() else None
    context = Context(prompter, flags, Answers(), path, old)
    ask_all(context)
    return make_draft(context)


def _check_writable(directory: Path) -> None:
    """Raise FailedError before the first question if the files could not be written."""
    nearest = next(place for place in (directory, *directory.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        raise FailedError(
            f"can't write into {nearest}. Run this as its owner, or pass another --config FILE."
        )


def _apply(draft: Draft, options: RunOptions, prompter: Prompter) -> bool:
    if not options.as_json:
        typer.echo("\n".join([*summary(draft.settings), ""]))

    def document(_: Sequence[Change], __: bool) -> dict[str, object]:
        return {
            "files": [
                {
                    "path": str(file.path),
                    "mode": f"{file.mode:o}",
                    "content": file.mask(file.content.decode()),
                    "difference": change.diff,
                }
                for file in draft.files
                for change in file.changes()
            ],
            "settings": draft.settings.model_dump(mode="json", exclude_none=True),
        }

    return apply_plan(
        Plan(draft.files), options, document, ask=lambda question: prompter.confirm(question, default=True)
    )


def _print_next_steps(path: Path) -> None:
    for warning in load(path, {}, KNOWN).warnings:
        typer.echo(f"registry-proxy: warning: {warning}", err=True)
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        typer.echo(f"registry-proxy: warning: the environment variable {name} overrides the file", err=True)
    typer.echo(
        "Next, run registry-proxy serve, or registry-proxy install to run it as a service. "
        "Then run registry-proxy client KIND for each client."
    )
