"""The working directory's files that root reads: those that no other user can change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.commands.program import Program
from tests.kit.users import ordinary_user

from registry_proxy.config import ConfigError, find_config_file

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = 12345
TOML, DOTENV = "registry-proxy.toml", ".env"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, of root, with both files."""
    place = tmp_path / "place"
    place.mkdir()
    (place / TOML).write_text("[server]\nworkers = 1\n")
    (place / DOTENV).write_text("REGISTRY_PROXY_SERVER_WORKERS=2\n")
    monkeypatch.chdir(place)
    return place


def give(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def link_to_others(place: Path) -> None:
    (place / TOML).rename(place.parent / "file")
    (place / TOML).symlink_to(place.parent / "file")
    give(place.parent / "file")


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "the file is another user's": lambda place: give(place / TOML),
    "everybody may write the file": lambda place: (place / TOML).chmod(0o646),
    "a group may write the file": lambda place: (place / TOML).chmod(0o664),
    "the variables are another user's": lambda place: give(place / DOTENV),
    "the directory is another user's": give,
    "everybody may write into the directory": lambda place: place.chmod(0o1777),
    "the way there is another user's": lambda place: give(place.parent),
    "the file is a link to another user's": link_to_others,
}


@pytest.mark.parametrize("spoil", UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_root_reads_no_file_that_another_user_can_change(
    place: Path, spoil: Callable[[Path], object]
) -> None:
    assert find_config_file() == Path(TOML)
    spoil(place)
    with pytest.raises(ConfigError, match=r"is not read by root: .* can change .*--config"):
        find_config_file()


def test_nor_variables_where_there_is_no_other_file(place: Path) -> None:
    (place / TOML).unlink()
    give(place / DOTENV)
    with pytest.raises(ConfigError, match=r"\.env: is not read by root: user 12345 can change"):
        find_config_file()


def test_the_variables_of_other_programs_do_not_matter(place: Path) -> None:
    (place / DOTENV).write_text("POSTGRES_PASSWORD=x\n")
    give(place / DOTENV)
    assert find_config_file() == Path(TOML)


def test_the_user_who_called_sudo_is_no_other_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (place, place / TOML, place / DOTENV):
        give(path)
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    assert find_config_file() == Path(TOML)
    monkeypatch.setenv("SUDO_UID", str(OTHER + 1))
    with pytest.raises(ConfigError):
        find_config_file()


def test_other_users_than_root_read_what_they_find(monkeypatch: pytest.MonkeyPatch) -> None:
    with ordinary_user() as place:
        monkeypatch.chdir(place)
        (place / TOML).touch()
        place.chmod(0o777)
        assert find_config_file() == Path(TOML)
        monkeypatch.undo()


def test_a_command_of_root_ends_with_the_reason_and_the_way_out(place: Path) -> None:
    (place / TOML).write_text('[upstreams.dockerhub]\nusername = "me"\npassword_command = ["touch", "run"]\n')
    (place / DOTENV).unlink()
    give(place / TOML)
    program = Program(place)
    for command in ("check-config", "doctor", "status", "serve"):
        done = program(command, code=1 if command == "doctor" else 2)
        told = " ".join((done.stdout + done.stderr).split())
        assert f"{place / TOML}" in told
        assert f"user {OTHER} can change" in told
        assert "pass the file with --config" in told
    assert not (place / "run").exists()
    program("check-config", "--config", TOML)
