"""The question how the server will run. The place of the store, the usable files and the usable ports depend on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.compose_file import FILE, MARKS
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.runner import Runner
from registry_proxy.commands.install.places import STATE
from registry_proxy.commands.install.systemctl import is_booted
from registry_proxy.config.load import default_storage_path

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_CHOICES = {
    Runner.SYSTEMD: "as a service of this system (systemd)",
    Runner.COMPOSE: "in containers (Docker Compose)",
    Runner.SERVE: "in a terminal, as the current user (registry-proxy serve)",
}


def ask_runner(context: Context) -> None:
    """Ask how the server will run. An installed service, or no terminal, leaves no question."""
    given = context.flags.runner
    if given is not None and given not in set(Runner):
        raise MissingAnswerError(f"--runner {given}: write {', '.join(Runner)}.")
    if given is not None:
        context.answers.runner = Runner(given)
    elif context.service is not None:
        context.answers.runner = Runner.SYSTEMD
    elif context.prompter.interactive:
        choices = {runner.value: label for runner, label in _CHOICES.items()}
        chosen = context.prompter.choose("How will the server run?", choices, _likely(context))
        context.answers.runner = Runner(chosen)


def _likely(context: Context) -> Runner:
    stack = context.directory / FILE
    if stack.is_file() and stack.read_bytes().startswith(MARKS):
        return Runner.COMPOSE
    old = context.old.storage.path if context.old else None
    explicit = old is not None and old not in (STATE, default_storage_path(os.environ))
    if not is_booted() or (explicit and old is not None and old.is_relative_to(Path.home())):
        return Runner.SERVE
    return Runner.SYSTEMD
