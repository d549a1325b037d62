"""Settings, and what is made of them for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.commands.client.endpoints import server_of
from registry_proxy.commands.client.planner import ClientInputs, make_plan
from registry_proxy.config import Settings, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from registry_proxy.commands.client.planner import ClientCertificate, ClientFile, Login, Planner

KNOWN = {preset.name: preset for preset in PRESETS}
# Two registries, one with a host name of its own, and one that serves both.
TWO = """
[server]
public_url = "https://registry.example.com"
[upstreams.dockerhub]
hostname = "hub.example.com"
[upstreams.quay]
enabled = false
[upstreams.gcr]
enabled = false
[upstreams.k8s]
enabled = false
"""


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], Settings]:
    """Reads the text of a configuration."""

    def read(toml: str) -> Settings:
        path = tmp_path / "registry-proxy.toml"
        path.write_text(toml)
        return load(path, {}, KNOWN)

    return read


@pytest.fixture
def files(settings: Callable[[str], Settings]) -> Callable[..., dict[str, ClientFile]]:
    """Makes a client's files by its planner, from what is already there."""

    def make(
        planner: Planner,
        toml: str = TWO,
        present: Mapping[str, str] | None = None,
        *,
        ca: str | None = None,
        login: Login | None = None,
        identity: ClientCertificate | None = None,
        user: bool = False,
        everything: bool = False,
        said: Mapping[str, str] | None = None,
    ) -> dict[str, ClientFile]:
        server = server_of(settings(toml))
        inputs = ClientInputs(server, "/home/me", ca, identity, login, user, everything)
        texts = present or {}
        outputs = said or {}
        plan = make_plan(
            planner,
            inputs,
            lambda paths: {path: texts.get(path) for path in paths},
            lambda commands: {command: outputs.get(command, "") for command in commands},
        )
        return {file.path: file for file in plan.files}

    return make
