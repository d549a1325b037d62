"""Files are really changed, in a folder of the test's own, and given back."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.kit.users import ordinary_user

from registry_proxy.commands.changes.plan import ChangeError, Plan, carry_out
from registry_proxy.commands.client.change_set import ChangeFiles, ChangeSet, apply_changes, undo_changes
from registry_proxy.commands.client.endpoints import ClientError, server_of
from registry_proxy.commands.client.machine import FileChange, Found, Machine, Missing
from registry_proxy.commands.client.planner import ClientFile, ClientInputs, ClientPlan, ExistingFiles
from registry_proxy.config import load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

RESTART = "systemctl reload it"
_SHELL = ["sh"]
# A shell has the rights of the real user.
_ORDINARY_SHELL = ["setpriv", "--reuid=65534", "sh"]


@dataclass
class Bench:
    """A home folder, and a client whose files are `wanted`: what stands in `{}` is what was there before."""

    home: Path
    wanted: dict[str, str] = field(default_factory=dict)
    mode: int = 0o644

    def __post_init__(self) -> None:
        self.machine = Machine(_SHELL if os.geteuid() == os.getuid() else _ORDINARY_SHELL, "this machine")
        known = {preset.name: preset for preset in PRESETS}
        self.inputs = ClientInputs(server_of(load(None, {}, known)), str(self.home), user=True)

    def path(self, name: str) -> Path:
        return self.home / name

    def plan(self, inputs: ClientInputs, existing: ExistingFiles) -> ClientPlan:
        files = []
        for name, text in self.wanted.items():
            path = f"{inputs.home}/{name}"
            before = existing.get(path) if "{}" in text else None
            files.append(ClientFile(path, text.replace("{}", before or ""), self.mode, RESTART))
        return ClientPlan(tuple(files))

    def apply_changes(self) -> ChangeSet:
        return apply_changes(self.machine, "it", self.plan, self.inputs)

    def do(self, changes: ChangeSet) -> None:
        step = ChangeFiles(self.machine, changes)
        carry_out(Plan([], closing=[step], due=True).pending())

    def apply(self) -> None:
        self.do(self.apply_changes())

    def undo(self, *, force: bool = False) -> None:
        self.do(undo_changes(self.machine, "it", str(self.home), user=True, force=force))

    def everything(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path.relative_to(self.home)): (
                path.read_bytes() if path.is_file() else b"",
                stat.S_IMODE(path.stat().st_mode),
            )
            for path in self.home.rglob("*")
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    home = tmp_path / 'a home\'s "folder" $HOME'
    (home / ".local/state").mkdir(parents=True)
    return Bench(home)


def test_files_are_changed_and_given_back_with_their_bytes_and_modes(bench: Bench) -> None:
    bench.path("etc").mkdir()
    bench.path("etc/a").write_bytes(b"old\r\n\xc3\xa9 no line break")
    bench.path("etc/a").chmod(0o640)
    before = bench.everything()
    bench.wanted = {"etc/a": "new\n{}", "etc/b/c/d": "", "etc/b/e": "it's $(touch here) `x` \\ END\n"}
    bench.apply()
    assert bench.path("etc/a").read_bytes() == b"new\nold\r\n\xc3\xa9 no line break"
    assert stat.S_IMODE(bench.path("etc/a").stat().st_mode) == 0o640
    assert bench.path("etc/b/c/d").read_bytes() == b""
    assert bench.path("etc/b/e").read_text() == "it's $(touch here) `x` \\ END\n"
    bench.undo()
    assert bench.everything() == before


def test_what_is_right_already_is_not_touched(bench: Bench) -> None:
    bench.path("a").write_text("as wanted\n")
    bench.wanted = {"a": "as wanted\n"}
    before = bench.everything()
    work = bench.apply_changes()
    assert (work.files, work.bookkeeping, work.restarts) == ((), (), ())
    bench.do(work)
    assert bench.everything() == before


def test_only_what_changes_takes_a_restart(bench: Bench) -> None:
    bench.wanted = {"a": "x\n"}
    assert bench.apply_changes().restarts == (RESTART,)
    bench.apply()
    assert bench.apply_changes().restarts == ()


def test_a_second_application_builds_on_what_was_there_at_first(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.path("stale").write_text("kept\n")
    before = bench.everything()
    bench.wanted = {"a": "one\n{}", "stale": "ours\n", "new/stale": "ours\n"}
    bench.apply()
    bench.wanted = {"a": "two\n{}"}
    bench.apply()
    assert bench.path("a").read_text() == "two\nmine\n"
    assert bench.path("stale").read_text() == "kept\n"
    assert not bench.path("new").exists()
    bench.undo()
    assert bench.everything() == before


def test_another_ones_change_is_kept(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.wanted = {"a": "one\n{}", "b": "ours\n"}
    bench.apply()
    bench.path("a").write_text("theirs\n")
    bench.path("b").write_text("theirs\n")
    bench.wanted = {"a": "two\n{}"}
    work = bench.apply_changes()
    assert any(
        f"{bench.path('b')} stays: another program has changed it since" in note for note in work.notes
    )
    bench.do(work)
    assert (bench.path("a").read_text(), bench.path("b").read_text()) == ("two\ntheirs\n", "theirs\n")
    bench.undo()
    assert (bench.path("a").read_text(), bench.path("b").read_text()) == ("theirs\n", "theirs\n")


def test_undo_refuses_to_lose_a_change(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.wanted = {"a": "one\n", "b": "ours\n"}
    bench.apply()
    bench.path("a").write_text("one\nand more\n")
    before = bench.everything()
    with pytest.raises(
        ClientError,
        match=r"another program has changed .*/a since.*before\), then delete .*registry-proxy-client/it",
    ):
        bench.undo()
    assert bench.everything() == before
    copies = bench.path(".local/state/registry-proxy-client/it/before")
    assert (copies / str(bench.path("a")).lstrip("/")).read_text() == "mine\n"


def test_undo_can_be_forced(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.path("gone").write_text("mine too\n")
    before = bench.everything()
    bench.wanted = {"a": "one\n", "b": "ours\n", "gone": "ours\n"}
    bench.apply()
    bench.path("a").write_text("one\nand more\n")
    bench.path("b").write_text("theirs\n")
    bench.path("gone").unlink()
    bench.undo(force=True)
    assert bench.everything() == before


def test_undo_by_hand_is_no_obstacle(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    before = bench.everything()
    bench.wanted = {"a": "one\n", "b": "ours\n"}
    bench.apply()
    bench.path("a").write_text("mine\n")
    bench.path("b").unlink()
    bench.undo()
    assert bench.everything() == before


def test_there_is_nothing_to_undo_at_first(bench: Bench) -> None:
    with pytest.raises(ClientError, match="nothing to undo"):
        bench.undo()


def test_a_lost_copy_is_told(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.wanted = {"a": "one\n"}
    bench.apply()
    (copy,) = (path for path in bench.path(".local/state").rglob("before/**/a") if path.is_file())
    copy.unlink()
    with pytest.raises(ClientError, match=r"can't restore .*/a: the copy of the previous file is missing"):
        bench.undo()


def test_secrets_are_for_the_owner_alone(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.path("a").chmod(0o644)
    bench.wanted, bench.mode = {"a": "secret\n", "b": "secret\n"}, 0o600
    bench.apply()
    assert {stat.S_IMODE(bench.path(name).stat().st_mode) for name in "ab"} == {0o600}
    bench.undo()
    assert stat.S_IMODE(bench.path("a").stat().st_mode) == 0o644


def test_a_link_stays_a_link(bench: Bench) -> None:
    bench.path("real").write_text("mine\n")
    bench.path("link").symlink_to("real")
    bench.wanted = {"link": "ours\n"}
    bench.apply()
    assert bench.path("link").is_symlink()
    assert bench.path("real").read_text() == "ours\n"
    bench.undo()
    assert (bench.path("link").is_symlink(), bench.path("real").read_text()) == (True, "mine\n")


def test_a_change_between_question_and_answer_is_not_lost(bench: Bench) -> None:
    bench.path("a").write_text("mine\n")
    bench.wanted = {"a": "ours\n", "b": "ours\n"}
    work = bench.apply_changes()
    bench.path("a").write_text("theirs\n")
    before = bench.everything()
    with pytest.raises(ChangeError, match="a was changed by another program in the meantime"):
        bench.do(work)
    assert bench.everything() == before
    bench.path("a").write_text("mine\n")
    bench.path("b").write_text("theirs\n")
    with pytest.raises(ChangeError, match="b was created by another program in the meantime"):
        bench.do(work)


def test_what_is_no_text_is_refused(bench: Bench) -> None:
    bench.path("a").write_bytes(b"\xff")
    bench.wanted = {"a": "ours\n{}"}
    with pytest.raises(ClientError, match="a is not UTF-8 text"):
        bench.apply()
    assert bench.path("a").read_bytes() == b"\xff"


def test_a_folder_in_a_files_place_is_told(bench: Bench) -> None:
    bench.path("a").mkdir()
    bench.wanted = {"a": "ours\n"}
    with pytest.raises(ClientError, match="a is not a file"):
        bench.apply()


def test_without_the_right_nothing_is_changed() -> None:
    with ordinary_user() as home:
        home.chmod(0o555)
        bench = Bench(home, {"a": "ours\n", "b/c": "ours\n"})
        with pytest.raises(
            ChangeError, match=r"Permission denied.*Run this as root[^\n]*\nNothing was changed\."
        ):
            bench.apply()
        home.chmod(0o755)
        assert bench.everything() == {}


def test_one_file_that_fails_leaves_all_as_they_were() -> None:
    with ordinary_user() as home:
        (home / "locked").mkdir(mode=0o555)
        (home / "a").write_text("mine\n")
        bench = Bench(home, {"a": "ours\n", "new/b": "ours\n", "locked/c": "ours\n"})
        before = bench.everything()
        with pytest.raises(ChangeError, match=r"Permission denied[^\n]*\nNothing was changed\."):
            bench.apply()
        assert bench.everything() == before


def test_an_unreadable_file_is_told() -> None:
    with ordinary_user() as home:
        (home / "a").write_text("mine\n")
        (home / "a").chmod(0)
        with pytest.raises(ClientError, match="a: Permission denied"):
            Bench(home, {"a": "ours\n"}).apply()


def test_a_shell_that_is_not_there_is_told() -> None:
    with pytest.raises(ClientError, match="can't run no-such-shell"):
        Machine(["no-such-shell"], "it").home()


def test_a_change_needs_no_bookkeeping(bench: Bench) -> None:
    path = str(bench.path("a"))
    bench.machine.write([FileChange(path, Missing(str(bench.home)), Found(b"x", 0o604))])
    assert bench.machine.read([path]) == {path: Found(b"x", 0o604)}
