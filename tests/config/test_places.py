"""Where the configuration and the store are when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.users import ordinary_user

from registry_proxy.config import find_config_file
from registry_proxy.config.load import default_storage_path


def test_a_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config_file() != Path("registry-proxy.toml")
    Path("registry-proxy.toml").touch()
    assert find_config_file() == Path("registry-proxy.toml")


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
    with ordinary_user():
        assert default_storage_path(environ) == Path(place)
