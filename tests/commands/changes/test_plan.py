"""All steps of a plan are applied, or all are undone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from registry_proxy.commands.changes.plan import Change, ChangeError, Done, PendingStep, Plan, carry_out


@dataclass
class RecordedStep:
    """A step that records its calls. It fails with `problem`, and its undo with `undo_problem`."""

    name: str
    notes: list[str]
    problem: BaseException | None = None
    undo_problem: Exception | None = None
    needed: bool = True
    commit_problem: Exception | None = None

    def changes(self) -> list[Change]:
        return [Change("run", self.name)] if self.needed else []

    def apply(self) -> Done:
        if self.problem:
            raise self.problem
        self.notes.append(f"do {self.name}")
        return Done(self._undo, self._commit)

    def _commit(self) -> None:
        if self.commit_problem:
            raise self.commit_problem
        self.notes.append(f"commit {self.name}")

    def _undo(self) -> None:
        if self.undo_problem:
            raise self.undo_problem
        self.notes.append(f"undo {self.name}")


@dataclass
class Story:
    """Steps that share their notes."""

    notes: list[str] = field(default_factory=list)

    def step(self, name: str, **how: object) -> RecordedStep:
        return RecordedStep(name, self.notes, **how)  # type: ignore[arg-type]

    def carry_out(self, *steps: RecordedStep) -> None:
        carry_out([PendingStep.of(step) for step in steps])


def test_steps_are_committed_after_the_last_one() -> None:
    story = Story()
    story.carry_out(story.step("a"), story.step("b"))
    assert story.notes == ["do a", "do b", "commit a", "commit b"]


def test_a_failure_undoes_the_steps_before_it_in_reverse() -> None:
    story = Story()
    failing = story.step("c", problem=ChangeError("the disk is full."))
    with pytest.raises(
        ChangeError, match=r"^the disk is full\.\nNothing was changed: the completed steps were undone\.$"
    ):
        story.carry_out(story.step("a"), story.step("b"), failing)
    assert story.notes == ["do a", "do b", "undo b", "undo a"]


def test_a_first_step_that_fails_changes_nothing() -> None:
    story = Story()
    with pytest.raises(ChangeError, match=r"^no\.\nNothing was changed\.$"):
        story.carry_out(story.step("a", problem=ChangeError("no.")))
    assert story.notes == []


def test_a_failed_commit_is_reported_and_nothing_is_undone() -> None:
    story = Story()
    stuck = story.step("b", commit_problem=OSError(16, "Device or resource busy", "/b"))
    with pytest.raises(ChangeError, match=r"^/b: Device or resource busy\.\nFix the cause, then run"):
        story.carry_out(story.step("a"), stuck)
    assert story.notes == ["do a", "do b", "commit a"]


def test_a_failed_undo_is_reported_and_the_rest_is_undone() -> None:
    story = Story()
    stuck = story.step("b", undo_problem=OSError(5, "Input/output error", "/etc/b"))
    with pytest.raises(
        ChangeError, match=r"could not be undone[^\n]*\n  run b: /etc/b: Input/output error\.$"
    ):
        story.carry_out(story.step("a"), stuck, story.step("c", problem=ChangeError("no.")))
    assert story.notes == ["do a", "do b", "undo a"]


def test_an_interruption_undoes_the_completed_steps() -> None:
    story = Story()
    with pytest.raises(KeyboardInterrupt):
        story.carry_out(story.step("a"), story.step("b", problem=KeyboardInterrupt()))
    assert story.notes == ["do a", "undo a"]


def test_without_a_change_there_is_nothing_to_do_around_it() -> None:
    story = Story()
    idle, around = story.step("a", needed=False), story.step("around")
    assert Plan([idle], opening=[around], closing=[around]).pending() == []
    pending = Plan([idle], opening=[around], closing=[around], due=True).pending()
    assert [each.step for each in pending] == [around, around]
    pending = Plan([idle, story.step("b")], closing=[around]).pending()
    assert [change.subject for each in pending for change in each.changes] == ["b", "around"]
