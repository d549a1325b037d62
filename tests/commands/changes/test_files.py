"""Files are written atomically, with the right owner and mode, and every step can be undone."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from tests.kit.users import ordinary_user

from registry_proxy.commands.changes.directories import MakeDirectory
from registry_proxy.commands.changes.files import (
    PRIVATE,
    BuildDirectory,
    RemoveDirectory,
    RemoveFile,
    WriteFile,
)
from registry_proxy.commands.changes.plan import Change, ChangeError, Done, Plan, Step, carry_out
from registry_proxy.commands.changes.show import hidden, mask_of

if TYPE_CHECKING:
    from pathlib import Path

IDS = (65534, 65533)


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def do(*steps: Step) -> None:
    carry_out(Plan(steps).pending())


def keep(path: Path, text: str, mode: int = 0o644) -> WriteFile:
    return WriteFile(path, text.encode(), mode, keep_access=True)


# One file


@pytest.mark.machine  # the code under test changes owners
def test_a_file_gets_its_content_mode_and_owner_and_nothing_is_left_over(tmp_path: Path) -> None:
    do(WriteFile(tmp_path / "a/b", b"x", 0o640, lambda: IDS))
    assert contents(tmp_path / "a") == {"b": "x"}
    assert (mode(tmp_path / "a/b"), owner(tmp_path / "a/b")) == (0o640, IDS)
    assert mode(tmp_path / "a") == 0o755


def test_a_second_run_changes_nothing_and_another_mode_or_owner_is_corrected(tmp_path: Path) -> None:
    step = WriteFile(tmp_path / "a", b"x", 0o640, lambda: IDS)
    do(step)
    assert step.changes() == []
    (tmp_path / "a").chmod(0o600)
    assert step.changes() == [Change("change", f"{tmp_path}/a: mode 0640 and owner")]
    do(step)
    os.chown(tmp_path / "a", 0, 0)
    do(step)
    assert (mode(tmp_path / "a"), owner(tmp_path / "a")) == (0o640, IDS)


@pytest.mark.parametrize(("group", "private"), [(65533, 0o640), (65534, 0o600)])
def test_an_existing_file_keeps_its_access_and_a_private_one_is_left_to_the_group_it_is_shared_with(
    group: int, private: int, tmp_path: Path
) -> None:
    for name in ("kept", "secret"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o644)
        os.chown(tmp_path / name, 65534, group)
    do(
        keep(tmp_path / "kept", "new"),
        keep(tmp_path / "secret", "new", PRIVATE),
        keep(tmp_path / "fresh", "é", PRIVATE),
    )
    assert contents(tmp_path) == {"kept": "new", "secret": "new", "fresh": "é"}
    assert [mode(tmp_path / name) for name in ("kept", "secret", "fresh")] == [0o644, private, 0o600]
    assert [owner(tmp_path / name) for name in ("kept", "secret")] == [(65534, group)] * 2


def test_another_mode_alone_is_no_change_if_the_access_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o666)
    assert keep(tmp_path / "a", "x", PRIVATE).changes() == []


@pytest.mark.parametrize("keep_access", [True, False])
def test_a_link_stays_a_link_only_if_the_access_is_kept(tmp_path: Path, keep_access: bool) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    do(WriteFile(tmp_path / "link", b"new", keep_access=keep_access))
    assert (tmp_path / "link").is_symlink() is keep_access
    assert (tmp_path / "real").read_text() == ("new" if keep_access else "old")


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old content")
    with (tmp_path / "a").open() as reader:
        do(WriteFile(tmp_path / "a", b"new"))
        assert reader.read() == "old content"


def test_the_diff_is_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same\nold hunter2\n")
    path, content = tmp_path / "a", b"same\nnew hunter3\n"
    (change,) = WriteFile(path, content, mask=mask_of(["hunter2", "hunter3"])).changes()
    assert change.diff.splitlines() == [
        f"--- {path}", f"+++ {path}", "@@ -1,2 +1,2 @@", " same", "-old ********", "+new ********",
    ]  # fmt: skip
    assert WriteFile(path, content, mask=hidden).changes() == [Change("change", str(path))]
    assert WriteFile(tmp_path / "b", b"x").changes()[0].diff.startswith("--- /dev/null\n")


def test_a_missing_owner_is_a_change_and_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    step = WriteFile(tmp_path / "a", b"x", owner=lambda: None)
    assert step.changes() == [Change("change", f"{tmp_path}/a: mode 0644 and owner")]
    with pytest.raises(ChangeError, match=r"does not exist\.\nNothing was changed\."):
        do(step)


def test_root_follows_no_link_of_another_user(tmp_path: Path) -> None:
    """To the content, which the difference would show, or to the place of the new one."""
    (tmp_path / "target").write_text("root's")
    link, folder = tmp_path / "link", tmp_path / "folder"
    link.symlink_to("target")
    folder.symlink_to(".")
    for path in (link, folder):
        os.chown(path, *IDS, follow_symlinks=False)
    for step in (
        keep(link, "new"),
        WriteFile(link, b"new"),
        keep(folder / "target", "new"),
        RemoveFile(folder / "target"),
    ):
        with pytest.raises(ChangeError, match=f"a link of user {IDS[0]} leads to"):
            do(step)
    assert (tmp_path / "target").read_text() == "root's"
    assert link.is_symlink()
    for path in (link, folder):
        os.chown(path, 0, 0, follow_symlinks=False)
    do(keep(link, "new"))
    assert (tmp_path / "target").read_text() == "new"
    assert link.is_symlink()


# All or none


@pytest.mark.parametrize("blocked", [0, 1, 2])
def test_all_files_or_none(blocked: int, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    (tmp_path / "a").write_text("old a")
    (tmp_path / "a").chmod(0o604)
    os.chown(tmp_path / "a", *IDS)
    pending = Plan([keep(tmp_path / name, "new") for name in names]).pending()
    (tmp_path / names[blocked]).unlink(missing_ok=True)
    (tmp_path / names[blocked]).mkdir()
    before = contents(tmp_path)
    with pytest.raises(ChangeError, match="Nothing was changed"):
        carry_out(pending)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(before) + 1
    if blocked:
        assert (mode(tmp_path / "a"), owner(tmp_path / "a")) == (0o604, IDS)


def test_a_directory_of_another_user_is_reported() -> None:
    with ordinary_user() as directory:
        directory.chmod(0o555)
        with pytest.raises(ChangeError, match=r"Permission denied.*\nNothing was changed\."):
            do(keep(directory / "sub" / "file", "x"))
        with pytest.raises(ChangeError, match=r"Permission denied.*\nNothing was changed\."):
            do(keep(directory / "file", "x"))
        assert list(directory.iterdir()) == []


class Failure:
    """A last step that fails."""

    def changes(self) -> list[Change]:
        return [Change("run", "failure")]

    def apply(self) -> Done:
        raise ChangeError("no.")


def build(path: Path) -> None:
    (path / "built").write_text("new")


@pytest.mark.machine  # the code under test changes owners
def test_every_step_is_undone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("changed", "removed", "deep/file", "tree/built", "gone/file"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"old {name}")
        (root / name).chmod(0o604)
    before = {
        path: (mode(path), owner(path), path.is_file() and path.read_text()) for path in root.rglob("*")
    }
    steps: list[Step] = [
        WriteFile(root / "changed", b"new"),
        WriteFile(root / "new/directory/file", b"new", owner=lambda: IDS),
        RemoveFile(root / "removed"),
        MakeDirectory(root / "deep", 0o700, lambda: IDS),
        MakeDirectory(root / "made/directory", 0o700, lambda: IDS),
        BuildDirectory(root / "tree", "1", build),
        BuildDirectory(root / "new tree", "1", build),
        RemoveDirectory(root / "gone"),
    ]
    with pytest.raises(ChangeError, match="the completed steps were undone"):
        do(*steps, Failure())
    assert {
        path: (mode(path), owner(path), path.is_file() and path.read_text()) for path in root.rglob("*")
    } == before
    do(*steps)
    assert [step.changes() for step in steps] == [[] for _ in steps]
    assert (root / "tree/built").read_text() == "new"
    assert sorted(path.name for path in root.iterdir()) == [
        "changed",
        "deep",
        "made",
        "new",
        "new tree",
        "tree",
    ]


# Directories


def test_a_failed_build_leaves_the_old_directory(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        build(path)
        raise ChangeError("no compiler.")

    do(BuildDirectory(tmp_path / "tree", "1", build))
    with pytest.raises(ChangeError, match=r"no compiler\."):
        do(BuildDirectory(tmp_path / "tree", "2", fail))
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    assert (tmp_path / "tree/.fingerprint").read_text() == "1"


def test_a_file_in_the_place_of_a_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(ChangeError, match=r"/a is not a directory\. Move it away"):
        do(MakeDirectory(tmp_path / "a", 0o700, lambda: IDS))


def test_entries_of_other_programs_stay(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "blobs/sha256").mkdir(parents=True)
    for name in ("index.db", "index.db-wal", "theirs"):
        (store / name).write_text("x")
    step = RemoveDirectory(store, only=("blobs", "index.*"))
    assert step.changes() == [Change("remove", f"{store}/: blobs, index.db, index.db-wal")]
    do(step)
    assert [path.name for path in store.iterdir()] == ["theirs"]
