from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.commands.server import Site
from tests.kit.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream

OTHERS = ("ghcr", "quay", "gcr", "k8s")


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def site(tmp_path: Path, hub: RemoteUpstream) -> Site:
    """A server of Docker Hub alone."""
    off = {f"{name}_enabled": "false" for name in OTHERS}
    return Site(tmp_path, hub.url, server_workers="1", **off)
