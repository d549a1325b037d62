"""Writing of the new files, the change of an installed service, and the next steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.changes.plan import Plan
from registry_proxy.commands.changes.show import apply_plan
from registry_proxy.commands.config.questions import summary
from registry_proxy.commands.config.runner import Runner
from registry_proxy.commands.install.installed import Activation, Update
from registry_proxy.commands.install.places import CONFIG, UNIT
from registry_proxy.commands.invocation import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry_proxy.commands.changes.plan import Change
    from registry_proxy.commands.changes.show import RunOptions
    from registry_proxy.commands.config.context import Context
    from registry_proxy.commands.config.draft import Draft


def apply_draft(context: Context, draft: Draft, options: RunOptions, *, activate: bool) -> str | None:
    """Show the result, ask for confirmation, and write the files. Return None if nothing was written.

    The text is the state of the installed service, or empty without one. Raise FailedError or UsageError.
    """
    if not options.as_json:
        typer.echo("\n".join([*summary(draft.settings, context.answers.store), ""]))
    update = _update(context, draft)
    if update is not None and not options.as_json:
        activate = activate or _ask_activation(context, update)
    plan = Plan(draft.files) if update is None else update.plan(draft.files, activate=activate)

    def document(_: Sequence[Change], __: bool) -> dict[str, object]:
        return _document(draft)

    def ask(question: str) -> bool:
        return context.prompter.confirm(question, default=True)

    if not apply_plan(plan, options, document, ask=ask):
        return None
    return "" if update is None else _state(update, activate=activate)


def _update(context: Context, draft: Draft) -> Update | None:
    """Return the change of the installed service, None if there is nothing to change or no service."""
    changed = any(file.changes() for file in draft.files)
    if context.service is None or context.old is None or not changed:
        return None
    return Update(context.service, context.old, draft.settings)


def _ask_activation(context: Context, update: Update) -> bool:
    """Report what the change requires, and ask whether the running service applies it. Without a terminal, it waits."""
    if update.activation is Activation.RESTART:
        reasons = [*update.reasons, *(["its unit"] if update.changes_unit else [])]
        context.prompter.print(f"The service requires a restart for {', '.join(reasons)}.")
    if not update.service.running or not context.prompter.interactive:
        return False
    if update.activation is Activation.RELOAD:
        return context.prompter.confirm("Let the running service apply the changes?", default=True)
    seconds = f"{update.old.server.grace_period:.0f} s"
    question = f"Restart the service with the changes? (running transfers have {seconds} to finish)"
    return context.prompter.confirm(question, default=True)


def _state(update: Update, *, activate: bool) -> str:
    if activate:
        return "The service uses the new configuration."
    if not update.service.running:
        return "The service uses the new configuration when it starts."
    command = f"systemctl {update.activation} registry-proxy"
    return f"The service continues with the previous configuration. To apply the new one, run: {command}"


def next_steps(context: Context) -> Iterator[str]:
    """Yield the commands that run the server and configure its clients."""
    config = context.file
    serve = command_line("serve", config=config)
    if context.answers.runner is Runner.SYSTEMD:
        update = UNIT.exists() and config != CONFIG
        verb = "update the installed service" if update else "install the service"
        yield f"Next, {verb}: {command_line('install', 'systemd', config=config, root=True)}"
    elif context.answers.runner is Runner.COMPOSE:
        yield f"Next, install the containers: {command_line('install', 'compose', config=config)}"
    elif context.answers.runner is Runner.SERVE:
        yield f"Next, run the server: {serve}"
    else:
        yield f"Next, run the server: {serve}, or install it: {command_line('install', config=config)}"
    yield f"Then configure each client: {command_line('client', 'KIND', config=config)}"


def _document(draft: Draft) -> dict[str, object]:
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
