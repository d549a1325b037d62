"""What `registry-proxy config` does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.common import FailedError, UsageError
from registry_proxy.commands.config.answers import Answers
from registry_proxy.commands.config.context import Context, Flags
from registry_proxy.commands.config.draft import KNOWN, Draft, make_draft
from registry_proxy.commands.config.prompter import MissingAnswerError, RefusedAnswerError, Unattended
from registry_proxy.commands.config.questions import ask_all, summary
from registry_proxy.commands.config.writing import WriteError, write_all
from registry_proxy.commands.passwords import PasswordError
from registry_proxy.config import find_config_file, load
from registry_proxy.config.layers import PREFIX

if TYPE_CHECKING:
    from registry_proxy.commands.config.prompter import Prompter

# As shells tell of a program that Ctrl-C ended.
_INTERRUPTED = 130
_NO_TERMINAL = (
    "there is no terminal to ask at. Tell what you want by options, and add --yes to write it (--json to see it): "
    "--registry, --domain or --hostname, --username with --password-file or --password-stdin, --certificates, "
    "--listen, --access, --path, --max-size. registry-proxy config --help shows all, with examples."
)


def run(file: Path | None, flags: Flags, *, yes: bool, as_json: bool) -> None:
    """Ask, show, write. Raises FailedError, UsageError, ConfigError; then nothing was written."""
    path = (file or find_config_file() or Path("registry-proxy.toml")).absolute()
    attended = sys.stdin.isatty() and sys.stdout.isatty() and not yes and not as_json
    if not attended and not yes and not as_json:
        raise UsageError(_NO_TERMINAL)
    if not as_json:
        _check_writable(path.parent)
    try:
        prompter = _asker(attended=attended)
        draft = _ask(path, flags, prompter)
        if as_json:
            _show_json(draft)
        else:
            _finish(draft, path, prompter)
    except MissingAnswerError as error:
        raise UsageError(str(error)) from error
    except (RefusedAnswerError, PasswordError, WriteError) as error:
        raise FailedError(str(error)) from error
    except (KeyboardInterrupt, EOFError):
        typer.echo("\nNothing was written.", err=True)
        raise typer.Exit(_INTERRUPTED) from None


def _asker(*, attended: bool) -> Prompter:
    if not attended:
        return Unattended(lambda text: typer.echo(text, err=True))
    from registry_proxy.commands.config.terminal import Terminal  # noqa: PLC0415 - draws

    return Terminal(typer.echo)


def _ask(path: Path, flags: Flags, prompter: Prompter) -> Draft:
    old = load(path, {}, KNOWN) if path.exists() else None
    context = Context(prompter, flags, Answers(), path, old)
    ask_all(context)
    return make_draft(context)


def _check_writable(folder: Path) -> None:
    """Before anybody has answered for nothing."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        raise FailedError(
            f"can't write into {nearest}. Run this as its owner, or name another --config FILE."
        )


def _finish(draft: Draft, path: Path, prompter: Prompter) -> None:
    new = [file for file in draft.files if file.is_new]
    typer.echo("\n".join(summary(draft.settings)))
    for file in new:
        typer.echo(f"\n{file.difference()}")
    if not new:
        typer.echo(f"\n{path} says so already: nothing was written.")
        return
    if prompter.attended and not prompter.confirm("Write this?", default=True):
        raise FailedError("nothing was written.")
    write_all(draft.to_write())
    _tell_next(path)


def _tell_next(path: Path) -> None:
    typer.echo(f"\n{path} is written.")
    for warning in load(path, {}, KNOWN).warnings:
        typer.echo(f"registry-proxy: warning: {warning}", err=True)
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        typer.echo(f"registry-proxy: warning: the environment variable {name} wins over the file", err=True)
    typer.echo(
        "Next: registry-proxy serve, or registry-proxy install to have it run by the system; "
        "then on each client: registry-proxy client KIND"
    )


def _show_json(draft: Draft) -> None:
    files = [
        {
            "path": str(file.path),
            "mode": f"{file.mode:o}",
            "content": file.shown_after,
            "difference": file.difference(),
        }
        for file in draft.files
        if file.is_new
    ]
    settings = draft.settings.model_dump(mode="json", exclude_none=True)
    typer.echo(json.dumps({"files": files, "settings": settings}, indent=2))
