"""Stores that are given to a user: nothing but their own entries, and no folder that is none."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from tests.commands.attacker import swapping
from tests.commands.changes.test_files import IDS, do, mode, owner

from registry_proxy.commands.changes.directories import GiveStore, MakeDirectory
from registry_proxy.commands.changes.files import RemoveDirectory
from registry_proxy.commands.changes.plan import Change, ChangeError, Plan, carry_out
from registry_proxy.service.site import STORE_ENTRIES, STORE_MARKS

if TYPE_CHECKING:
    from pathlib import Path

OTHER = 12345
TEXT = "mode 0700 and owner"


def other() -> tuple[int, int]:
    return OTHER, OTHER


def give(path: Path) -> GiveStore:
    return GiveStore(path, lambda: IDS, STORE_ENTRIES, STORE_MARKS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that root has made, with files that are no part of it."""
    store = tmp_path / "store"
    (store / "blobs/sha256/ab").mkdir(parents=True)
    (store / "blobs/sha256/ab/content").write_text("x")
    (store / "ingest").mkdir()
    for name in ("index.db", "locks", "theirs", "index"):
        (store / name).write_text("x")
    (store / "notes").mkdir()
    (store / "notes/file").write_text("x")
    store.chmod(0o755)
    return store


def given(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if owner(path) == IDS}


def test_a_missing_or_empty_directory_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "empty/lost+found").mkdir(parents=True)
    for name, action in (("new/one", "create"), ("empty", "change")):
        step = give(tmp_path / name)
        [change] = step.changes()
        assert change.action == action
        do(step)
        assert (mode(tmp_path / name), owner(tmp_path / name)) == (0o700, IDS)
        assert step.changes() == []
    assert owner(tmp_path / "empty/lost+found") == (0, 0)


def test_the_plan_names_what_gets_another_owner_and_nothing_else_gets_it(store: Path) -> None:
    step = give(store)
    own = "blobs, index.db, ingest, locks"
    assert step.changes() == [Change("change", f"{store}/: {TEXT}, and all of {own}")]
    do(step)
    assert given(store) == {
        "blobs",
        "blobs/sha256",
        "blobs/sha256/ab",
        "blobs/sha256/ab/content",
        "index.db",
        "ingest",
        "locks",
    }
    assert step.changes() == []
    os.chown(store / "locks", 0, 0)
    assert step.changes() == [Change("change", f"{store}/: {TEXT}, and all of locks")]


def test_a_folder_that_is_not_a_store_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "tls").mkdir(parents=True)
    (home / "tls/key.pem").write_text("key")
    with pytest.raises(ChangeError, match=r"home is not empty and not a store: it has tls\. Set storage"):
        give(home).changes()
    (home / "blobs").mkdir()
    (home / "notes").touch()
    with pytest.raises(ChangeError, match=r"not a store: it has blobs, notes, tls\. Set storage"):
        give(home).changes()
    assert given(home) == set()
    (home / "blobs").rmdir()
    (home / "notes").unlink()
    assert RemoveDirectory(home, STORE_ENTRIES, STORE_MARKS).changes() == []


def test_an_incomplete_store_without_other_content_is_one(tmp_path: Path) -> None:
    (tmp_path / "store/blobs/sha256").mkdir(parents=True)
    do(give(tmp_path / "store"))
    assert given(tmp_path / "store") == {"blobs", "blobs/sha256"}


def test_links_and_second_names_in_a_store_give_away_nothing(store: Path, tmp_path: Path) -> None:
    """As the former owner of a store can plant them, where the kernel lets users link files of others."""
    private = tmp_path / "private"
    (private / "folder").mkdir(parents=True)
    for name in ("a", "b", "folder/c"):
        (private / name).write_text("root's")
    (store / "blobs/sha256/ab/linked").hardlink_to(private / "a")
    (store / "index.db-wal").symlink_to(private / "b")
    (store / "tls").symlink_to(private / "folder")
    (store / "blobs/sha256/cd").symlink_to(private / "folder")
    step = give(store)
    do(step)
    assert {owner(path) for path in (private, *private.rglob("*"))} == {(0, 0)}
    assert step.changes() == []


@pytest.mark.parametrize("kind", ["store", "directory"])
def test_a_link_of_another_user_in_the_place_of_a_directory_is_refused(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "etc"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    step = give(link) if kind == "store" else MakeDirectory(link, 0o700, lambda: IDS)
    pending = Plan([step]).pending()  # with a link of root
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    for attempt in (step.changes, lambda: carry_out(pending)):
        with pytest.raises(ChangeError, match=f"a link of user {OTHER} leads to {link}"):
            attempt()
    assert owner(target) == (0, 0)
    os.chown(link, 0, 0, follow_symlinks=False)
    do(step)
    assert owner(target) == IDS


def test_a_link_to_nothing_is_not_made_a_directory(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "new")
    with pytest.raises(ChangeError, match="is a link to nothing"):
        give(link).changes()


def test_a_store_has_its_owners_again_when_the_plan_fails(store: Path, tmp_path: Path) -> None:
    os.chown(store / "locks", OTHER, OTHER)
    (tmp_path / "file").write_text("in the way")
    before = {path: owner(path) for path in (store, *store.rglob("*"))}
    pending = Plan([give(store), MakeDirectory(tmp_path / "later", 0o700, lambda: IDS)]).pending()
    (tmp_path / "later").write_text("in the way")
    with pytest.raises(ChangeError):
        carry_out(pending)
    assert {path: owner(path) for path in (store, *store.rglob("*"))} == before
    assert mode(store) == 0o755


def test_links_that_appear_while_a_store_is_given_away_give_away_nothing(store: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    for number in range(20):
        (private / f"file{number}").write_text("root's")
    for path in (store, *store.rglob("*")):
        os.chown(path, OTHER, OTHER)
    with swapping(store, "blobs/sha256/ab blobs/sha256 ingest", private):
        for number in range(300):
            step = give(store) if number % 2 else GiveStore(store, other, STORE_ENTRIES, STORE_MARKS)
            with contextlib.suppress(ChangeError, OSError):  # of what disappears meanwhile
                step.apply()
            os.chown(store, OTHER, OTHER)  # so that the attacker can go on
    assert {owner(path) for path in (private, *private.iterdir())} == {(0, 0)}
