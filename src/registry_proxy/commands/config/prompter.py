"""The interface that asks the questions, and its implementation without a terminal, which uses the defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from registry_proxy.commands.common import FailedError, UsageError

# Returns the problem with a text, or None.
Check = Callable[[str], str | None]


class MissingAnswerError(UsageError):
    """A question has no usable answer and there is no terminal. The text names the flag to use."""


class RefusedAnswerError(FailedError):
    """A test failed, such as a login. The text names the fix."""


class Prompter(Protocol):
    """Asks the user. `flag` is the option that replaces the question."""

    @property
    def interactive(self) -> bool:
        """True if there is a user at a terminal."""
        ...

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Return one of the keys of `choices`, whose values are shown."""
        ...

    def choose_many(self, question: str, choices: Mapping[str, str], default: Collection[str]) -> list[str]:
        """Return any number of the keys of `choices`."""
        ...

    def text(self, question: str, default: str, check: Check, flag: str) -> str:
        """Return a text that passes the check."""
        ...

    def secret(self, question: str, check: Check) -> str:
        """Return a text that is not shown while it is typed."""
        ...

    def confirm(self, question: str, default: bool) -> bool:
        """Return the answer to a yes-or-no question."""
        ...

    def print(self, text: str) -> None:
        """Print a message."""
        ...


class DefaultsPrompter:
    """Accepts the defaults. Raise MissingAnswerError if a default is missing or fails its check."""

    interactive = False

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:  # noqa: ARG002
        return default

    def choose_many(
        self,
        question: str,  # noqa: ARG002
        choices: Mapping[str, str],  # noqa: ARG002
        default: Collection[str],
    ) -> list[str]:
        return list(default)

    def text(self, question: str, default: str, check: Check, flag: str) -> str:
        problem = check(default)
        if problem is not None:
            raise MissingAnswerError(f"{flag}: {problem}" if default else f"{flag} is missing ({question})")
        return default

    def secret(self, question: str, check: Check) -> str:  # noqa: ARG002
        raise MissingAnswerError(f"missing password ({question})")

    def confirm(self, question: str, default: bool) -> bool:  # noqa: ARG002
        return default

    def print(self, text: str) -> None:
        self._output(text)
