"""Upstreams behave as their section of the configuration says."""

from __future__ import annotations

import pytest
from tests.kit.upstream import SimulatedUpstream
from yarl import URL

from registry_proxy.config.settings import UpstreamSettings
from registry_proxy.oci.reference import Repository
from registry_proxy.service.wiring.presets import preset_of
from registry_proxy.service.wiring.upstreams import open_upstream
from registry_proxy.upstream.failures import RedirectRefusedError


async def status(url: URL, *networks: str) -> int:
    """The status of a request to where an upstream on another network refers."""
    section = {
        "registry": "registry.example.com",
        "url": "https://registry.example.com",
        "allow_redirects_to": list(networks),
    }
    preset = preset_of("corp", UpstreamSettings.model_validate(section))
    async with (
        open_upstream(preset) as upstream,
        upstream.open("GET", url, Repository("acme/app"), {}) as response,
    ):
        return response.status


async def test_the_networks_that_an_upstream_may_redirect_to_are_those_of_its_configuration() -> None:
    async with SimulatedUpstream() as inner:
        url = URL(inner.url) / "v2/"
        assert await status(url, "10.0.0.0/8", "127.0.0.1") == 200
        for networks in ((), ("10.0.0.0/8",)):
            with pytest.raises(RedirectRefusedError, match="allow_redirects_to"):
                await status(url, *networks)
    assert len(inner.requests) == 1
