from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from tests.kit.users import ordinary_user

from registry_proxy.commands.config.writing import PRIVATE, NewFile, WriteError, write_all

if TYPE_CHECKING:
    from pathlib import Path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_written_with_their_modes_and_nothing_is_left_over(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    (tmp_path / "kept").chmod(0o640)
    (tmp_path / "secret").write_text("old")
    write_all(
        [
            NewFile(tmp_path / "kept", "new"),
            NewFile(tmp_path / "secret", "new", PRIVATE),
            NewFile(tmp_path / "fresh", "é", PRIVATE),
        ]
    )
    assert contents(tmp_path) == {"kept": "new", "secret": "new", "fresh": "é"}
    assert [mode(tmp_path / name) for name in ("kept", "secret", "fresh")] == [0o640, 0o600, 0o600]


def test_folders_are_made(tmp_path: Path) -> None:
    write_all([NewFile(tmp_path / "a/b/c", "x")])
    assert (tmp_path / "a/b/c").read_text() == "x"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_all([NewFile(tmp_path / "link", "new")])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_the_owner_stays_the_owner(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    os.chown(tmp_path / "file", 65534, 65534)
    write_all([NewFile(tmp_path / "file", "new")])
    assert ((tmp_path / "file").stat().st_uid, (tmp_path / "file").stat().st_gid) == (65534, 65534)


@pytest.mark.parametrize("blocked", [0, 1, 2])
def test_all_files_or_none(blocked: int, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    (tmp_path / "a").write_text("old a")
    (tmp_path / names[blocked]).unlink(missing_ok=True)
    (tmp_path / names[blocked]).mkdir()
    before = contents(tmp_path)
    with pytest.raises(WriteError, match="Nothing was written"):
        write_all([NewFile(tmp_path / name, "new") for name in names])
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(before) + 1


def test_a_folder_that_is_not_ours_is_told() -> None:
    with ordinary_user() as folder:
        folder.chmod(0o555)
        with pytest.raises(WriteError, match="Permission denied"):
            write_all([NewFile(folder / "file", "x")])
        assert list(folder.iterdir()) == []
