"""The shell script for a machine without this program: all files or none, and no file of another program."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.client.planner import ClientFile
from registry_proxy.commands.client.script import client_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.program import Program

TEXT = 'quote = "it\'s"\n$HOME `id` é\n'


def files(folder: Path) -> list[ClientFile]:
    return [
        ClientFile(f"{folder}/etc/a b/hosts.toml", TEXT, restart="systemctl restart docker"),
        ClientFile(f"{folder}/etc/secret", "password", 0o600, restart="systemctl restart docker"),
        ClientFile(f"{folder}/etc/empty", ""),
    ]


def sh(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["sh", "-s", "--", *arguments],
        input=client_script("docker", files(folder)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done
    return done


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_created_once_and_removed_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = sh(tmp_path)
        assert done.stdout.count("run: systemctl restart docker") == 1
        assert entries(tmp_path) == {"etc/a b/hosts.toml", "etc/secret", "etc/empty"}
        assert (tmp_path / "etc/a b/hosts.toml").read_text() == TEXT
        modes = [(tmp_path / "etc" / name).stat().st_mode & 0o777 for name in ("a b/hosts.toml", "secret")]
        assert modes == [0o644, 0o600]
    (tmp_path / "etc/secret").write_text("mine")
    assert f"{tmp_path}/etc/secret stays" in sh(tmp_path, "--undo").stderr
    assert entries(tmp_path) == {"etc/secret"}


def test_an_existing_file_is_shown_what_it_lacks_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/secret").write_text("mine")
    told = sh(tmp_path, code=1).stderr
    assert f"{tmp_path}/etc/secret exists, and this script does not merge files. Nothing was changed." in told
    assert told.endswith("Add these lines to it:\npassword")
    assert entries(tmp_path) == {"etc/secret"}


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "etc/secret.registry-proxy-new").mkdir(parents=True)
    sh(tmp_path, code=1)
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("kind", ["docker", "containerd", "podman", "k3s"])
def test_every_client_has_a_script_that_the_shell_can_read(kind: str, program: Program) -> None:
    server = ("--server", "http://192.0.2.7:5000")
    script = program("client", kind, "--script", *server).stdout
    assert script.startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    shown = program("client", kind, *server)
    assert f"client {kind} --server http://192.0.2.7:5000 --script" in shown.stderr


def test_a_script_is_for_the_system_files_of_a_machine(program: Program) -> None:
    server = ("--server", "http://192.0.2.7:5000")
    assert "omit --user" in program("client", "podman", "--script", "--user", *server, code=2).stderr
    assert "--script" in program("client", "docker", "--script", "--apply", *server, code=2).stderr
    assert "--script" in program("client", "talos", "--script", *server, code=2).stderr
