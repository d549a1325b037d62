"""`registry-proxy config`: ask all questions, show the resulting files, and write them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.config.answers import Answers
from registry_proxy.commands.config.apply import apply_draft, next_steps
from registry_proxy.commands.config.context import Context
from registry_proxy.commands.config.draft import KNOWN, make_draft
from registry_proxy.commands.config.prompter import DefaultsPrompter
from registry_proxy.commands.config.questions import ask_all
from registry_proxy.commands.install.installed import InstalledService
from registry_proxy.commands.invocation import command_line
from registry_proxy.config import find_config_file, load
from registry_proxy.config.layers import PREFIX

if TYPE_CHECKING:
    from registry_proxy.commands.changes.show import RunOptions
    from registry_proxy.commands.config.context import Flags
    from registry_proxy.commands.config.prompter import Prompter
    from registry_proxy.config import Settings

# The exit code of a program that Ctrl-C ended, as shells report it.
_INTERRUPTED = 130
_NO_TERMINAL = (
    "cannot ask without a terminal. Use options instead of the questions, and add --yes to write the files, or "
    "--json to print them: --runner, --registry, --domain or --hostname, --username with --password-file or "
    "--password-stdin, --certificates, --listen, --public-url, --access, --path, --max-size. "
    "registry-proxy config --help lists all options, with examples."
)


def run(file: Path | None, flags: Flags, options: RunOptions, *, activate: bool) -> None:
    """Ask, show, write. Raise FailedError, UsageError or ConfigError; then nothing was written."""
    path = (file or find_config_file() or Path("registry-proxy.toml")).absolute()
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes and not options.as_json
    if not interactive and not options.yes and not options.as_json:
        raise UsageError(_NO_TERMINAL)
    if not options.as_json:
        _check_writable(path.parent)
    context = Context(
        _prompter(interactive=interactive), flags, Answers(), path, _old(path), InstalledService.find(path)
    )
    if activate and context.service is None:
        raise UsageError(f"--apply requires an installed service that reads {path}.")
    try:
        ask_all(context)
        outcome = apply_draft(context, make_draft(context), options, activate=activate)
    except (KeyboardInterrupt, EOFError):
        typer.echo("\nNothing was changed.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if outcome is not None:
        _print_next_steps(context, outcome)


def _old(path: Path) -> Settings | None:
    return load(path, {}, KNOWN) if path.exists() else None


def _prompter(*, interactive: bool) -> Prompter:
    if not interactive:
        return DefaultsPrompter(lambda text: typer.echo(text, err=True))
    from registry_proxy.commands.config.terminal import TerminalPrompter  # noqa: PLC0415 - slow to load

    return TerminalPrompter(typer.echo)


def _check_writable(directory: Path) -> None:
    """Raise FailedError before the first question if the files could not be written."""
    nearest = next(place for place in (directory, *directory.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        raise FailedError(
            f"can't write into {nearest}. Run this as its owner ({command_line('config', root=True)}), "
            "or pass another --config FILE."
        )


def _print_next_steps(context: Context, outcome: str) -> None:
    for warning in load(context.file, {}, KNOWN).warnings:
        typer.echo(f"registry-proxy: warning: {warning}", err=True)
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        typer.echo(f"registry-proxy: warning: the environment variable {name} overrides the file", err=True)
    typer.echo(outcome or "\n".join(next_steps(context)))
