"""A booted system a module, from which each test's installation is removed again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.commands.install.booted import BootedSystem
from tests.kit.certificates import Authority
from tests.kit.processes import Local, run
from tests.kit.remote import Simulators
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    names = {"registry.example.com": "127.20.0.1"}
    with SealedNetwork(tmp_path_factory.mktemp("network"), authority, names) as network:
        yield network


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    with Simulators(["dockerhub"], folder, runner=network, authority=authority, real_names=True) as upstreams:
        yield upstreams


@pytest.fixture(scope="module")
def booted(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[BootedSystem]:
    with BootedSystem(network, authority, tmp_path_factory.mktemp("booted")) as system:
        yield system


@pytest.fixture(scope="module")
def program_copy(booted: BootedSystem) -> Path:
    """The program as it is installed: to make it takes the most time of an installation."""
    booted.program("install", "systemd", "--yes")
    kept = booted.path("/var/kept")
    booted.path("/opt/registry-proxy").rename(kept)
    booted.program("uninstall", "systemd", "--purge", "--yes")
    return kept


@pytest.fixture
def system(booted: BootedSystem, program_copy: Path) -> Iterator[BootedSystem]:
    """The booted system, with the program in place already."""
    run(Local(), ["cp", "--archive", "--link", str(program_copy), str(booted.path("/opt/registry-proxy"))])
    yield booted
    if booted.path("/etc/systemd/system/registry-proxy.service").exists():
        booted.program("uninstall", "systemd", "--purge", "--yes")
    for folder in ("/opt/registry-proxy", "/etc/registry-proxy"):
        shutil.rmtree(booted.path(folder), ignore_errors=True)
    shutil.rmtree(booted.path("/var/setup"))
    booted.path("/var/setup").mkdir()
