"""A sealed network with the server's names and an ACME server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.kit.certificates import Authority
from tests.kit.sealed import SealedNetwork
from tests.tls import pebble
from tests.tls.place import ASTRAY, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SealedNetwork]:
    names = {**NAMES, ASTRAY: "127.20.0.9", pebble.NAME: pebble.ADDRESS}
    with SealedNetwork(tmp_path_factory.mktemp("network"), authority, names) as network:
        yield network
