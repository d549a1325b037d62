"""How questions are put: to somebody at a terminal, or to nobody, when flags and defaults must answer them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

# What is wrong with a text, or None.
Check = Callable[[str], str | None]


class MissingAnswerError(Exception):
    """Nobody can be asked and no flag tells; the text says which would."""


class RefusedAnswerError(Exception):
    """An answer doesn't hold: a password that is refused, a name that leads nowhere; the text says what to do."""


class Prompter(Protocol):
    """Asks. `flag` is what answers the question on the command line."""

    @property
    def attended(self) -> bool:
        """Whether somebody answers."""
        ...

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """One of the keys of `choices`, whose values are shown."""
        ...

    def choose_many(self, question: str, choices: Mapping[str, str], default: Collection[str]) -> list[str]:
        """Any of the keys of `choices`."""
        ...

    def text(self, question: str, default: str, check: Check, flag: str) -> str:
        """A text that passes the check."""
        ...

    def secret(self, question: str, check: Check) -> str:
        """A text that isn't shown while it is typed."""
        ...

    def confirm(self, question: str, default: bool) -> bool:
        """Yes or no."""
        ...

    def tell(self, text: str) -> None:
        """Something to know."""
        ...


class Unattended:
    """Takes the defaults, and refuses where there is none that will do."""

    attended = False

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

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
        raise MissingAnswerError(f"a password is missing ({question})")

    def confirm(self, question: str, default: bool) -> bool:  # noqa: ARG002
        return default

    def tell(self, text: str) -> None:
        self._tell(text)
