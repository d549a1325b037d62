"""Steps are all done, or all taken back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from registry_proxy.commands.install.plan import Change, Done, InstallError, Pending, Plan, carry_out


@dataclass
class Noted:
    """A step that notes what happens to it; it fails with `problem`, or when it is taken back with `undo_problem`."""

    name: str
    notes: list[str]
    problem: BaseException | None = None
    undo_problem: Exception | None = None
    needed: bool = True

    def change(self) -> Change | None:
        return Change("run", self.name) if self.needed else None

    def apply(self) -> Done:
        if self.problem:
            raise self.problem
        self.notes.append(f"do {self.name}")
        return Done(self._undo, lambda: self.notes.append(f"commit {self.name}"))

    def _undo(self) -> None:
        if self.undo_problem:
            raise self.undo_problem
        self.notes.append(f"undo {self.name}")


@dataclass
class Story:
    """Steps that share their notes."""

    notes: list[str] = field(default_factory=list)

    def step(self, name: str, **how: object) -> Noted:
        return Noted(name, self.notes, **how)  # type: ignore[arg-type]

    def carry_out(self, *steps: Noted) -> None:
        carry_out([Pending(step, step.change()) for step in steps])


def test_what_is_done_is_final_only_when_all_is_done() -> None:
    story = Story()
    story.carry_out(story.step("a"), story.step("b"))
    assert story.notes == ["do a", "do b", "commit a", "commit b"]


def test_a_failure_takes_back_the_steps_before_it_in_reverse() -> None:
    story = Story()
    failing = story.step("c", problem=InstallError("the disk is full."))
    with pytest.raises(
        InstallError, match=r"^the disk is full\.\nNothing was changed: what had been done was taken"
    ):
        story.carry_out(story.step("a"), story.step("b"), failing)
    assert story.notes == ["do a", "do b", "undo b", "undo a"]


def test_what_could_not_be_taken_back_is_told_and_the_rest_is_taken_back() -> None:
    story = Story()
    stuck = story.step("b", undo_problem=OSError(5, "Input/output error", "/etc/b"))
    with pytest.raises(InstallError, match="run b: /etc/b: Input/output error"):
        story.carry_out(story.step("a"), stuck, story.step("c", problem=InstallError("no.")))
    assert story.notes == ["do a", "do b", "undo a"]


def test_an_interruption_takes_back_what_was_done() -> None:
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
    assert [each.change.subject for each in pending if each.change] == ["b", "around"]
