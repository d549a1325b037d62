"""Fixtures of all commands: the program, a store, and a server that caches a simulated Docker Hub."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.commands.program import Program, Stored
from tests.commands.registry2 import OldFolder
from tests.commands.server import Site
from tests.kit.remote import Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def bound_program(tmp_path: Path) -> Program:
    """The program without root's power over all files; an ordinary user has none anyway."""
    powers = "-dac_override,-dac_read_search"
    is_root = os.geteuid() == 0
    return Program(tmp_path, ("setpriv", "--bounding-set", powers, "--inh-caps", powers) if is_root else ())


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "store")


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    with Simulators(["dockerhub"], tmp_path_factory.mktemp("upstreams")) as simulators:
        yield simulators


@pytest.fixture
def hub(simulators: Simulators) -> RemoteUpstream:
    hub = simulators["dockerhub"]
    hub.clear()
    return hub


@pytest.fixture
def site(tmp_path: Path, hub: RemoteUpstream) -> Site:
    return Site(tmp_path, hub.url)


@pytest.fixture
def old(tmp_path: Path) -> OldFolder:
    return OldFolder(tmp_path / "registry")
