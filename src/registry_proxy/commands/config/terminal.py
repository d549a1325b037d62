"""Questions at a terminal. Ctrl-C raises KeyboardInterrupt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import questionary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from registry_proxy.commands.config.prompter import Check


class TerminalPrompter:
    """A `Prompter` that asks at the terminal."""

    interactive = True

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        options = [questionary.Choice(label, value) for value, label in choices.items()]
        chosen: str = questionary.select(question, options, default=default).unsafe_ask()
        return chosen

    def choose_many(self, question: str, choices: Mapping[str, str], default: Collection[str]) -> list[str]:
        options = [
            questionary.Choice(label, value, checked=value in default) for value, label in choices.items()
        ]
        chosen: list[str] = questionary.checkbox(question, options).unsafe_ask()
        return chosen

    def text(self, question: str, default: str, check: Check, flag: str) -> str:  # noqa: ARG002
        valid = _valid(lambda text: check(text.strip()))
        answer: str = questionary.text(question, default=default, validate=valid).unsafe_ask()
        return answer.strip()

    def secret(self, question: str, check: Check) -> str:
        answer: str = questionary.password(question, validate=_valid(check)).unsafe_ask()
        return answer

    def confirm(self, question: str, default: bool) -> bool:
        answer: bool = questionary.confirm(question, default=default).unsafe_ask()
        return answer

    def print(self, text: str) -> None:
        self._output(text)


def _valid(check: Check) -> Callable[[str], bool | str]:
    return lambda text: check(text) or True
