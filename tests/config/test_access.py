"""`[access]` and what an upstream says instead."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import ConfigError, Settings, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {preset.name: preset for preset in PRESETS}


def settings_of(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "registry-proxy.toml"
    path.write_text(text)
    return load(path, {"HOME": str(tmp_path), **environ}, KNOWN)


def test_paths_start_at_the_file_and_networks_are_read(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, '[access]\nhtpasswd = "users"\nsources = ["10.0.0.0/8", "2001:db8::1"]\n'
    )
    assert settings.access.htpasswd == tmp_path / "users"
    assert settings.access.sources == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128"))


def test_an_upstream_has_its_own_from_the_environment(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "", REGISTRY_PROXY_GHCR_ACCESS_SOURCES="10.1.0.0/16, 192.0.2.7")
    assert settings.upstreams["ghcr"].access_sources == (
        ip_network("10.1.0.0/16"),
        ip_network("192.0.2.7/32"),
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('sources = ["10.0.0.1/8"]', "has an invalid network"),
        ('sources = "10.0.0.0/8"', "must be a list of strings"),
        ('trusted_proxies = ["proxy.example"]', "has an invalid network"),
        ('client_ca = "ca.pem"', "requires TLS, which is off"),
        ('client_names = ["node"]', "requires access.client_ca"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, f"[access]\n{line}\n")
    assert f"access.{line.split(' ', maxsplit=1)[0]}" in str(caught.value)
    assert told in str(caught.value)


def test_names_that_an_upstream_asks_for_take_an_authority(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"upstreams\.ghcr\.access_client_names.* requires access\.client_ca"
    ):
        settings_of(tmp_path, '[upstreams.ghcr]\naccess_client_names = ["node"]\n')
