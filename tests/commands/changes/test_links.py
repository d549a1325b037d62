"""A program gets its name on the PATH, and no other program loses its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.changes.links import MakeLink, RemoveLink
from registry_proxy.commands.changes.plan import Change, ChangeError, Done, Plan, carry_out

if TYPE_CHECKING:
    from pathlib import Path


class Failure:
    """A last step that fails."""

    def changes(self) -> list[Change]:
        return [Change("run", "failure")]

    def apply(self) -> Done:
        raise ChangeError("no.")


def test_a_link_is_created_kept_and_removed(tmp_path: Path) -> None:
    link, target = tmp_path / "bin/program", tmp_path / "opt/program"
    step = MakeLink(link, target)
    assert step.possible
    carry_out(Plan([step]).pending())
    assert link.readlink() == target
    assert step.changes() == []
    carry_out(Plan([RemoveLink(link, target)]).pending())
    assert not link.is_symlink()
    assert RemoveLink(link, target).changes() == []


@pytest.mark.parametrize("undone", [False, True])
def test_the_link_of_another_environment_is_replaced(undone: bool, tmp_path: Path) -> None:
    link, target, old = tmp_path / "program", tmp_path / "opt/program", tmp_path / ".venv/bin/program"
    link.symlink_to(old)
    step = MakeLink(link, target)
    assert step.changes() == [Change("change", f"{link} -> {target}")]
    if undone:
        with pytest.raises(ChangeError):
            carry_out(Plan([step, Failure()]).pending())
    else:
        carry_out(Plan([step]).pending())
    assert link.readlink() == (old if undone else target)
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


@pytest.mark.parametrize("is_link", [False, True])
def test_another_program_stays(is_link: bool, tmp_path: Path) -> None:
    link = tmp_path / "program"
    if is_link:
        link.symlink_to("/usr/bin/true")
    else:
        link.write_text("mine")
    step = MakeLink(link, tmp_path / "opt/program")
    assert (step.possible, step.changes()) == (False, [])
    assert RemoveLink(link, tmp_path / "opt/program").changes() == []
