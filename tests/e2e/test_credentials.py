"""Credentials that are wrong: clients are told so, and a reload is enough once they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import DIRECT, PullingSkopeo, check_pulled
from tests.e2e.places import GHCR
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.processes import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.images import Image
    from tests.kit.remote import Simulators
    from tests.kit.sealed import SealedNetwork

USER, PASSWORD = "robot", "ghp_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def image(upstreams: Simulators) -> Image:
    image = images.image()
    upstreams["ghcr"].push(GHCR.repository("secret"), image, "v1")
    upstreams["ghcr"].admit(USER, PASSWORD, only_to=GHCR.repository("secret"))
    return image


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "password"
    file.touch(mode=0o600)
    file.write_text("wrong")
    return file


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, password: Path, image: Image
) -> Iterator[RegistryProxy]:
    """A server whose password is wrong at first."""
    settings = {"ghcr_username": USER, "ghcr_password_file": str(password)}
    with RegistryProxy(network, tmp_path_factory.mktemp("server"), **settings) as server:
        yield server


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("kind", DIRECT)
def test_client_is_told_whose_credentials_are_refused(kind: str, network: SealedNetwork) -> None:
    with DIRECT[kind](network) as client, pytest.raises(CommandError) as failure:
        client.pull(f"{GHCR.cached('secret')}:v1")
    assert f"ghcr.io: no token for the configured user '{USER}'" in str(failure.value)


def test_right_ones_count_after_a_reload(
    server: RegistryProxy, skopeo: PullingSkopeo, password: Path, image: Image
) -> None:
    password.write_text(PASSWORD)
    server.reload()
    server.wait_until(lambda: server.get(f"{GHCR.path('secret')}/manifests/v1").status == 200)
    check_pulled(skopeo.copy(f"{GHCR.cached('secret')}:v1", tls_verify=False), image)
