"""A plan: steps in their order, each of which tells what it would change, does it, and takes it back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Action = Literal["create", "change", "remove", "run"]


class InstallError(Exception):
    """The service can't be installed or removed; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a step is going to do to what; `diff` has no secrets in it."""

    action: Action
    subject: str
    diff: str = ""


def _nothing() -> object:
    return None


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was done: `undo` takes it back, `commit` makes it final."""

    undo: Callable[[], object] = _nothing
    commit: Callable[[], object] = _nothing


class Step(Protocol):
    """One thing to do. `change` is None where there is nothing to do. Both raise InstallError or OSError."""

    def change(self) -> Change | None: ...
    def apply(self) -> Done: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """`opening` and `closing` are done around `steps` if any of these has something to do, or if they are `due` anyway.

    For the reader, `warnings` come before what is to be agreed to, and `remarks` after it was done.
    """

    steps: Sequence[Step]
    opening: Sequence[Step] = ()
    closing: Sequence[Step] = ()
    due: bool = False
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def pending(self) -> list[Pending]:
        """What there is to do now. Raises InstallError."""
        with _readable_errors():
            needed = [Pending(step, change) for step in self.steps if (change := step.change())]
            if not needed and not self.due:
                return []
            opening, closing = (
                [Pending(step, step.change()) for step in some] for some in (self.opening, self.closing)
            )
        return [*opening, *needed, *closing]


@dataclass(frozen=True, slots=True)
class Pending:
    """A step to do, and what it changes: some change nothing themselves."""

    step: Step
    change: Change | None


def carry_out(pending: Sequence[Pending]) -> None:
    """Do all steps. When one fails, or Ctrl-C ends them, those before it are taken back, the last one first.

    Raises InstallError, which says so.
    """
    done: list[tuple[Change | None, Done]] = []
    try:
        for each in pending:
            result = each.step.apply()
            done.append((each.change, result))
    except (InstallError, OSError) as error:
        raise InstallError(f"{_text_of(error)}\n{_take_back(done)}") from error
    except BaseException:
        _take_back(done)
        raise
    _commit(done)


def _commit(done: list[tuple[Change | None, Done]]) -> None:
    try:
        for _, each in done:
            each.commit()
    except (InstallError, OSError) as error:
        raise InstallError(f"{_text_of(error)}\nMend that, and run this again for what is left.") from error


def _take_back(done: list[tuple[Change | None, Done]]) -> str:
    left = []
    for change, each in reversed(done):
        try:
            each.undo()
        except (InstallError, OSError) as error:
            what = f"{change.action} {change.subject}: " if change else ""
            left.append(f"  {what}{_text_of(error)}")
    if left:
        return "\n".join(["This could not be taken back, look after it by hand:", *left])
    return "Nothing was changed: what had been done was taken back." if done else "Nothing was changed."


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error)


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise InstallError(f"{error.filename}: {error.strerror}. Run this as root.") from error
    except OSError as error:
        raise InstallError(_text_of(error)) from error
