"""Root's commands on a store of another user, whose symbolic links lead root nowhere, and who keeps all files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from tests.commands.attacker import OWNER, swapping
from tests.commands.test_adopt import ALPINE, adopt, counts
from tests.kit import images

from registry_proxy.identity import as_owner_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.commands.registry2 import OldFolder
    from tests.commands.server import Site

# What a command opens or makes in a store, and where a link in its place leads.
PLANTED = {
    "locks": {"locks": "file", "index.db.lock": "file", "index.db.damaged-1": "folder"},
    "new files": {"locks": "folder/new", "index.db.lock": "folder/new", "index.db": "folder/new"},
    "index": {"index.db": "file", "index.db-wal": "file", "index.db-shm": "file"},
    "ingest": {"ingest": "folder"},
    "blobs": {"blobs": "folder"},
    "content": {"blobs/sha256": "folder", "blobs/sha512": "folder/new"},
}


def give_away(folder: Path) -> None:
    """Make everything in a folder its own user's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNER, follow_symlinks=False)


def state(folder: Path) -> dict[Path, tuple[object, ...]]:
    """All that root could change in a folder of its own by following a link."""
    return {path: _state(path) for path in (folder, *folder.rglob("*"))}


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() else sorted(path.iterdir())
    return status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size, content


@pytest.fixture
def foreign(site: Site, old: OldFolder) -> Site:
    """A store with content, of a user who is not root."""
    old.push(ALPINE, images.image(layer_size=50_000), "3")
    adopt(site, old)
    give_away(site.store)
    return site


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Files of root, which a command must not read aloud, change, delete or give away."""
    folder = tmp_path / "root"
    (folder / "folder").mkdir(parents=True, mode=0o700)
    (folder / "folder/file").write_text("root's")
    (folder / "file").write_bytes(b"secret of root\n" * 1000)
    (folder / "file").chmod(0o600)
    return folder


def commands(site: Site, old: OldFolder) -> Iterator[str]:
    """Run commands that open the store in each way, as root; what they tell, whether they can work or not."""
    for arguments in (
        ("status",),
        ("verify", "--repair"),
        ("adopt", str(old.root), "--upstream", "dockerhub", "--copy"),
        ("doctor",),
        ("rm", "alpine", "--yes"),
    ):
        done = site.attempt(*arguments)
        assert done.returncode in {0, 1}
        assert "Traceback" not in done.stderr
        yield done.stdout + done.stderr


@pytest.mark.parametrize("places", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_link_leads_root_nowhere(
    foreign: Site, old: OldFolder, private: Path, places: dict[str, str]
) -> None:
    for place, target in places.items():
        planted = foreign.store / place
        if planted.exists():
            planted.rename(planted.with_name(f"{planted.name}.aside"))
        planted.symlink_to(private / target)
        os.chown(planted, OWNER, OWNER, follow_symlinks=False)
    before = state(private)
    told = "".join(commands(foreign, old))
    assert state(private) == before
    assert "secret of root" not in told
    assert {path.lstat().st_uid for path in (foreign.store, *foreign.store.rglob("*"))} == {OWNER}


def test_links_among_the_content_lead_root_nowhere(foreign: Site, old: OldFolder, private: Path) -> None:
    """For a directory of content, a blob, an ingest and its successor."""
    before = state(private)
    content = sorted((foreign.store / "blobs/sha256").glob("*/*"))
    for number, path in enumerate(content):
        path.unlink()
        match number % 4:
            case 0:
                path.symlink_to(private / "file")
            case 1:
                (foreign.store / "ingest" / path.name).symlink_to(private / "file")
            case 2:
                (foreign.store / "ingest" / path.name).symlink_to(private / "new")
            case _:
                path.parent.rmdir()
                path.parent.symlink_to(private / "folder")
    give_away(foreign.store)
    assert "secret of root" not in "".join(commands(foreign, old))
    assert state(private) == before


def test_the_store_itself_may_be_a_link(site: Site, old: OldFolder, private: Path) -> None:
    old.push(ALPINE, images.image(layer_size=50_000), "3")
    folder = site.folder / "service"
    folder.mkdir()
    site.settings["storage_path"] = str(folder / "store")
    (folder / "store").symlink_to(private / "folder")
    give_away(folder)
    before = state(private)
    assert list(commands(site, old))
    assert state(private) == before


def test_root_still_links_what_the_owner_may_not_link_and_reads_what_it_may_not_reach(
    site: Site, old: OldFolder
) -> None:
    image = images.image(layer_size=50_000)
    old.push(ALPINE, image, "3")
    site.store.mkdir()
    give_away(site.store)
    old.root.chmod(0o700)
    assert counts(adopt(site, old)) == {"linked": 4}
    assert site.file(image.layers[0].digest).samefile(old.data(image.layers[0].digest))
    made = [path for path in site.store.rglob("*") if path.is_dir() or "blobs" not in path.parts]
    assert {path.stat().st_uid for path in made} == {OWNER}


def test_everything_in_the_store_is_closed_to_others(site: Site, old: OldFolder) -> None:
    """Also in a store that had been open. Content has a mark for its group, in a directory that is closed."""
    old.push(ALPINE, images.image(layer_size=50_000), "3")
    before = os.umask(0)
    try:
        adopt(site, old, "--copy")
        for path in (site.store / "blobs", site.store / "ingest", site.store / "index.db"):
            path.chmod(0o777)
        adopt(site, old)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in site.store.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600, 0o640}
    assert {path.parent.parent.name for path, mode in modes.items() if mode == 0o640} == {"sha256"}


def test_the_identity_is_taken_on_for_the_block_alone(tmp_path: Path) -> None:
    os.chown(tmp_path, OWNER, OWNER)
    before = (os.geteuid(), os.getegid(), os.getgroups())
    with as_owner_of(tmp_path):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (OWNER, OWNER, [])
        with as_owner_of(tmp_path):
            (tmp_path / "file").touch()
        assert os.geteuid() == OWNER
        with pytest.raises(PermissionError):
            os.chown(tmp_path / "file", 0, 0)
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    assert (tmp_path / "file").stat().st_uid == OWNER
    os.chown(tmp_path / "file", 0, 0)


def test_a_path_belongs_to_the_maker_of_a_link_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "end").mkdir()
    (tmp_path / "link").symlink_to("end")
    (tmp_path / "loop").symlink_to("loop")
    assert owner_of(tmp_path / "link").uid == 0
    os.chown(tmp_path / "link", OWNER, OWNER, follow_symlinks=False)
    for path in ("link", "link/missing", "link/../link"):
        assert owner_of(tmp_path / path).uid == OWNER
    os.chown(tmp_path / "end", 1, 1)
    assert owner_of(tmp_path / "end/missing").uid == 1
    assert owner_of(tmp_path / "loop/x").uid == 0


def test_links_that_appear_while_root_works_lead_root_nowhere(
    foreign: Site, old: OldFolder, private: Path
) -> None:
    before = state(private)
    with swapping(foreign.store, "ingest blobs index.db.lock locks", private / "folder"):
        assert "secret of root" not in "".join(commands(foreign, old))
    assert state(private) == before
