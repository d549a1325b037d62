"""Where the configuration and the store are when nobody says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import find_config_file
from registry_proxy.config.load import default_storage_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """An ordinary user's rights: the tests' own, or else another effective user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config_file() != Path("registry-proxy.toml")
    Path("registry-proxy.toml").touch()
    assert find_config_file() == Path("registry-proxy.toml")


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HOME": "/home/me"}, "/home/me/.local/share/registry-proxy"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/registry-proxy"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "relative"}, "/home/me/.local/share/registry-proxy"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": ""}, "/home/me/.local/share/registry-proxy"),
    ],
)
def test_an_ordinary_user_stores_at_home(environ: dict[str, str], place: str) -> None:
    assert default_storage_path(environ) == Path(place)
