"""Files, stores and ports that the server could not use are refused where they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.users import ordinary_user

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.common import UsageError
from registry_proxy.commands.config.context import Flags
from registry_proxy.commands.config.run import run
from registry_proxy.config import load
from registry_proxy.upstream.presets import PRESETS

KNOWN = {preset.name: preset for preset in PRESETS}
FIRST_FREE = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
UNATTENDED = RunOptions(yes=True)


def write(folder: Path, flags: Flags) -> None:
    run(folder / "registry-proxy.toml", flags, UNATTENDED, activate=False)


def test_a_store_that_a_service_could_not_write_to_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "store", Path("/home/me/images")):
        with pytest.raises(UsageError, match="The service can't write to"):
            write(tmp_path, Flags(runner="systemd", path=path))
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_service_are_next_to_the_configuration_or_for_all(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "ca.pem", tmp_path / "desk"
    folder.mkdir()
    elsewhere.write_text("-----BEGIN CERTIFICATE-----\n")
    flags = Flags(
        runner="systemd", hostname=("localhost",), certificates="https://127.0.0.1:1/dir", check=False
    )
    # /tmp is another directory for the service.
    with pytest.raises(UsageError, match=f"could not read {elsewhere}. Move the file to {folder}"):
        write(folder, replace(flags, acme_root=elsewhere))
    elsewhere.rename(folder / "ca.pem")
    write(folder, replace(flags, acme_root=Path("ca.pem")))
    tls = load(folder / "registry-proxy.toml", {}, KNOWN).tls
    assert tls is not None
    assert tls.ca_root == folder / "ca.pem"


@pytest.mark.skipif(FIRST_FREE <= 443, reason="every user may use these ports")
def test_a_user_is_told_of_ports_that_require_root() -> None:
    with ordinary_user() as folder:
        flags = Flags(runner="serve", path=folder / "store", check=False)
        with pytest.raises(UsageError, match=r"can't listen on 127\.0\.0\.1:443: ports below"):
            write(folder, replace(flags, listen="127.0.0.1:443"))
        # With TLS there are other ports by default, and none that redirects.
        write(folder, replace(flags, hostname=("localhost",), certificates="letsencrypt", agree_tos=True))
        tls = load(folder / "registry-proxy.toml", {}, KNOWN).tls
        assert tls is not None
        assert ([*map(str, tls.listen)], tls.http) == (["[::]:8443"], ())


def test_an_unknown_way_to_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--runner rkt: write systemd, compose, serve"):
        write(tmp_path, Flags(runner="rkt"))


def test_only_an_installed_service_can_apply_the_changes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--apply requires an installed service"):
        run(tmp_path / "registry-proxy.toml", Flags(), UNATTENDED, activate=True)
