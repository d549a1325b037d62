"""A plan of steps. Each step returns its changes, carries them out, and can undo them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from registry_proxy.commands.common import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Action = Literal["create", "change", "remove", "run"]


class ChangeError(FailedError):
    """A change cannot be planned or carried out. The text names the reason and the fix."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as it is shown. `diff` contains no secrets."""

    action: Action
    subject: str
    diff: str = ""


def _nothing() -> object:
    return None


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a step: `undo` reverts it, `commit` makes it final."""

    undo: Callable[[], object] = _nothing
    commit: Callable[[], object] = _nothing


class Step(Protocol):
    """One step. Both methods raise ChangeError or OSError."""

    def changes(self) -> Sequence[Change]:
        """Return the changes that are still needed."""
        ...

    def apply(self) -> Done:
        """Carry them out."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a command.

    `opening` and `closing` run before and after `steps`, if one of these has changes or if the plan is `due`.
    `warnings` are printed before the confirmation, `remarks` after the changes.
    """

    steps: Sequence[Step]
    opening: Sequence[Step] = ()
    closing: Sequence[Step] = ()
    due: bool = False
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def pending(self) -> list[PendingStep]:
        """Return the steps that are needed now. Raise ChangeError if a step is impossible."""
        with _os_errors_explained():
            needed = [step for step in map(PendingStep.of, self.steps) if step.changes]
            if not needed and not self.due:
                return []
            opening, closing = ([*map(PendingStep.of, steps)] for steps in (self.opening, self.closing))
        return [*opening, *needed, *closing]


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A step that is needed, and its changes. Some opening and closing steps have none."""

    step: Step
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, step: Step) -> PendingStep:
        """Read the changes of a step."""
        return cls(step, tuple(step.changes()))


def carry_out(pending: Sequence[PendingStep], report: Callable[[PendingStep], object] | None = None) -> None:
    """Apply all steps. If one fails or is interrupted, undo the completed ones in reverse order.

    `report` is called with each step before it is applied. Raise ChangeError if a step failed; the text names every
    step that could not be undone.
    """
    done: list[tuple[PendingStep, Done]] = []
    try:
        for each in pending:
            if report is not None:
                report(each)
            result = each.step.apply()
            done.append((each, result))
    except (ChangeError, OSError) as error:
        raise ChangeError(f"{_message(error)}\n{_undo(done)}") from error
    except BaseException:
        _undo(done)
        raise
    _commit(done)


def _commit(done: list[tuple[PendingStep, Done]]) -> None:
    try:
        for _, result in done:
            result.commit()
    except (ChangeError, OSError) as error:
        raise ChangeError(
            f"{_message(error)}\nFix the cause, then run the command again to complete the changes."
        ) from error


def _undo(done: list[tuple[PendingStep, Done]]) -> str:
    """Undo the steps, the last one first, and return the outcome as text."""
    failed = []
    for pending, result in reversed(done):
        try:
            result.undo()
        except (ChangeError, OSError) as error:
            subject = "".join(f"{change.action} {change.subject}: " for change in pending.changes[:1])
            failed.append(f"  {subject}{_message(error)}")
    if failed:
        return "\n".join(["These changes could not be undone; revert them by hand:", *failed])
    return "Nothing was changed: the completed steps were undone." if done else "Nothing was changed."


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error)


@contextlib.contextmanager
def _os_errors_explained() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ChangeError(f"{error.filename}: {error.strerror}. Run this as root.") from error
    except OSError as error:
        raise ChangeError(_message(error)) from error
