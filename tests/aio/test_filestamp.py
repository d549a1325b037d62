"""A stamp is the same as long as the file is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry_proxy.aio.filestamp import FileStamp

if TYPE_CHECKING:
    from pathlib import Path


def test_an_untouched_file_keeps_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    assert FileStamp.read(path) is not None
    assert FileStamp.read(path) == FileStamp.read(path)


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    assert FileStamp.read(tmp_path / "file") is None


def test_size_time_and_replacement_change_it(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("content")
    os.utime(path, ns=(0, 0))
    stamps = [FileStamp.read(path)]
    path.write_text("longer content")
    os.utime(path, ns=(0, 0))
    stamps.append(FileStamp.read(path))
    os.utime(path, ns=(0, 1))
    stamps.append(FileStamp.read(path))
    other.write_text("longer content")
    os.utime(other, ns=(0, 1))
    other.replace(path)
    stamps.append(FileStamp.read(path))
    assert len(set(stamps)) == 4


def test_a_link_that_leads_elsewhere_changes_it(tmp_path: Path) -> None:
    link = tmp_path / "link"
    stamps = []
    for name in ("one", "two"):
        (tmp_path / name).write_text("content")
        os.utime(tmp_path / name, ns=(0, 0))
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        stamps.append(FileStamp.read(link))
    assert stamps[0] != stamps[1]
