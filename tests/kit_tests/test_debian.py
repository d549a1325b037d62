"""The list of Debian packages names what the tests use, and the tests' machine has them."""

from __future__ import annotations

import shutil

import pytest
from tests.kit import debian


@pytest.mark.parametrize(
    "program",
    [
        "skopeo",
        "podman",
        "containerd",
        "ctr",
        "runc",
        "crun",
        "dockerd",
        "docker-registry",
        "pebble",
        "nginx",
    ],
)
def test_every_program_is_there_once_nothing_is_missing(program: str) -> None:
    assert debian.missing() == []
    assert shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


def test_nothing_is_installed_when_nothing_is_missing() -> None:
    assert debian.main() == 0


def test_without_root_the_command_to_run_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "PACKAGES", {"no-such-package": ""})
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert debian.main() == 1
    assert "apt-get install --no-install-recommends no-such-package" in capsys.readouterr().err
