"""Two registries to pull from, an image there, and the cache in front of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.access.program import Program
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.remote import Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream

IMAGE = images.image()


class Serve(Protocol):
    """Starts the server with further tables of its configuration; it ends with the test."""

    def __call__(self, toml: str, *, workers: int = 2, listen: str = "127.0.0.1:0") -> Program: ...


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteUpstream]:
    """A registry without any login; it stands for both Docker Hub and ghcr.io."""
    with Simulators(["plain"], tmp_path_factory.mktemp("upstreams")) as upstreams:
        plain = upstreams["plain"]
        plain.push("library/hello", IMAGE, "latest")
        plain.push("acme/hello", IMAGE, "latest")
        yield plain


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def registries(upstream: RemoteUpstream) -> str:
    """The configuration of the upstreams."""
    off = "".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("quay", "gcr", "k8s"))
    return f'{off}hostname = "k8s.example.com"\n' + (
        f'[upstreams.dockerhub]\nurl = "{upstream.url}"\nhostname = "hub.example.com"\n'
        f'[upstreams.ghcr]\nurl = "{upstream.url}"\nhostname = "ghcr.example.com"\n'
    )


@pytest.fixture
def serve(tmp_path: Path, registries: str, stack: ExitStack) -> Serve:
    def serve(toml: str, *, workers: int = 2, listen: str = "127.0.0.1:0") -> Program:
        # `registries` ends in the table of ghcr, to which `toml` can add keys before it begins another.
        return stack.enter_context(Program(tmp_path, registries + toml, workers=workers, listen=listen))

    return serve
