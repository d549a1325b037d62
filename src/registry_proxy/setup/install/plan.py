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
    """`closing` is done after `steps`, if any of them had something to do, or if it is `due` anyway.

    `remarks` are for the reader: what the plan doesn't do for them.
    """

    steps: Sequence[Step]
    closing: Sequence[Step] = ()
    due: bool = False
    remarks: tuple[str, ...] = ()

    def pending(self) -> list[tuple[Step, Change]]:
        """What there is to do now."""
        pending = _pending(self.steps)
        return pending + _pending(self.closing) if pending or self.due else []


def _pending(steps: Sequence[Step]) -> list[tuple[Step, Change]]:
    return [(step, change) for step in steps if (change := step.change()) is not None]


def carry_out(pending: Sequence[tuple[Step, Change]]) -> None:
    """Do all steps. When one fails, or Ctrl-C ends them, those before it are taken back, the last one first.

    Raises InstallError, which says so.
    """
    done: list[tuple[Change, Done]] = []
    try:
        for step, change in pending:
            done.append((change, step.apply()))
    except (InstallError, OSError) as error:
        raise InstallError(f"{_text_of(error)}\n{_take_back(done)}") from error
    except BaseException:
        _take_back(done)
        raise
    for _, each in done:
        each.commit()


def _take_back(done: list[tuple[Change, Done]]) -> str:
    left = []
    for change, each in reversed(done):
        try:
            each.undo()
        except (InstallError, OSError) as error:
            left.append(f"  {change.action} {change.subject}: {_text_of(error)}")
    if left:
        return "\n".join(["This could not be taken back, look after it by hand:", *left])
    return "Nothing was changed: what had been done was taken back." if done else "Nothing was changed."


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """So that looking at what is there fails with InstallError."""
    try:
        yield
    except PermissionError as error:
        raise InstallError(f"{error.filename}: {error.strerror}. Run this as root.") from error
    except OSError as error:
        raise InstallError(_text_of(error)) from error
