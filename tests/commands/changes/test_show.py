"""A plan is shown, confirmed and reported; without a confirmation nothing is done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.changes.plan import Change, Done, Plan
from registry_proxy.commands.changes.show import RunOptions, apply_plan, diff_text, mask_of
from registry_proxy.commands.common import FailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_TERMINAL = "cannot ask for confirmation without a terminal; nothing was changed. Add --yes"


@dataclass
class CountedStep:
    """A step that counts how often it is applied."""

    applied: list[str] = field(default_factory=list)
    needed: bool = True

    def changes(self) -> list[Change]:
        return [Change("change", "/etc/a", "-old\n+new")] if self.needed else []

    def apply(self) -> Done:
        self.applied.append("once")
        return Done()


@dataclass
class Run:
    """A run of a plan with one step."""

    step: CountedStep
    options: RunOptions = field(default_factory=RunOptions)
    reply: bool = True
    questions: list[str] = field(default_factory=list)

    def __call__(self) -> bool:
        plan = Plan([self.step], warnings=("beware.",), remarks=("next.",))
        return apply_plan(plan, self.options, document, ask=self._ask)

    def _ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.reply


def document(changes: Sequence[Change], done: bool) -> dict[str, object]:
    return {"changes": [change.subject for change in changes], "done": done}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)


SHOWN = "change  /etc/a\n    -old\n    +new\n"
CASES = {
    "yes": (RunOptions(yes=True), True, f"{SHOWN}Done.\nnext.\n"),
    "a dry run": (RunOptions(dry_run=True), True, f"{SHOWN}Nothing was changed.\n"),
    "a dry run, yes": (RunOptions(yes=True, dry_run=True), True, f"{SHOWN}Nothing was changed.\n"),
    "nothing needed": (RunOptions(), False, "Nothing to change.\nnext.\n"),
}


@pytest.mark.parametrize(("options", "needed", "output"), CASES.values(), ids=CASES)
def test_the_changes_and_the_result_are_printed(
    options: RunOptions, needed: bool, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(CountedStep(needed=needed), options)
    done = run()
    assert done is (needed and not options.dry_run)
    assert run.step.applied == ["once"] * done
    assert run.questions == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (output, "beware.\n")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("reply", [True, False])
def test_at_a_terminal_the_reply_decides(reply: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(CountedStep(), reply=reply)
    if reply:
        assert run()
    else:
        with pytest.raises(FailedError, match=r"^nothing was changed\.$"):
            run()
    assert run.questions == ["Apply these changes?"]
    assert run.step.applied == ["once"] * reply
    assert capsys.readouterr().out.startswith(SHOWN)


def test_without_a_terminal_nothing_is_done() -> None:
    run = Run(CountedStep())
    with pytest.raises(UsageError, match=NO_TERMINAL):
        run()
    assert (run.questions, run.step.applied) == ([], [])


@pytest.mark.usefixtures("terminal")
def test_json_never_asks(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(CountedStep(), RunOptions(as_json=True))
    with pytest.raises(UsageError, match=NO_TERMINAL):
        run()
    assert capsys.readouterr().out == ""
    run = Run(CountedStep(), RunOptions(yes=True, as_json=True))
    assert run()
    assert json.loads(capsys.readouterr().out) == {"changes": ["/etc/a"], "done": True}
    assert run.questions == []


def test_secrets_are_masked_whole_lines_too() -> None:
    mask = mask_of(["hunter2", "key\nof lines\n"])
    assert mask("a hunter2\nkey\nof lines\nb\n") == "a ********\n********\nb\n"


def test_a_diff_names_a_missing_file_dev_null() -> None:
    assert diff_text("/a", None, b"x\n").splitlines()[:2] == ["--- /dev/null", "+++ /a"]
    assert diff_text("/a", b"x\n", None).splitlines()[:2] == ["--- /a", "+++ /dev/null"]
    assert diff_text("/a", b"x\n", b"x\n") == ""
