"""Credentials are tried as the server would use them, at registries of each kind."""

from __future__ import annotations

import pytest
from tests.kit.upstream import SimulatedUpstream

from registry_proxy.commands.config.credential_check import try_credentials, unresolved
from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.presets import Preset

GOOD, BAD = Credentials("me", "right"), Credentials("me", "wrong")


def preset(upstream: SimulatedUpstream) -> Preset:
    return Preset("it", "registry.example.com", upstream.url, realm_hosts=frozenset({"127.0.0.1"}))


@pytest.mark.parametrize("kind", ["dockerhub", "ghcr", "quay", "gcr"])
async def test_right_credentials_are_accepted_and_wrong_ones_refused(kind: str) -> None:
    async with SimulatedUpstream(kind) as upstream:
        upstream.add_user("me", "right")
        good, bad = (
            await try_credentials(preset(upstream), GOOD),
            await try_credentials(preset(upstream), BAD),
        )
    assert good.accepted
    assert "accepts the credentials of me" in good.text
    assert not bad.accepted
    assert "refuses the credentials of me" in bad.text
    assert "wrong" not in bad.text


async def test_a_registry_with_basic_logins_is_tried_too() -> None:
    async with SimulatedUpstream("plain", auth="basic", ping_needs_auth=True) as upstream:
        upstream.add_user("me", "right")
        assert (await try_credentials(preset(upstream), GOOD)).accepted
        assert not (await try_credentials(preset(upstream), BAD)).accepted


async def test_an_open_registry_says_nothing_of_them() -> None:
    async with SimulatedUpstream("k8s") as upstream:
        outcome = await try_credentials(preset(upstream), BAD)
    assert (outcome.accepted, "couldn't be tested" in outcome.text) == (True, True)


async def test_a_registry_that_is_away_is_told() -> None:
    async with SimulatedUpstream("ghcr") as upstream:
        away = preset(upstream)
    outcome = await try_credentials(away, GOOD)
    assert not outcome.accepted
    assert "couldn't be tested" in outcome.text
    assert "Connection refused" in outcome.text


def test_names_that_lead_nowhere_are_found() -> None:
    assert unresolved(["localhost", "no.such.host.invalid", "127.0.0.1"]) == ["no.such.host.invalid"]
