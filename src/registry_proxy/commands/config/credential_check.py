"""Tests of credentials with their registry, and of host names with the resolver."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.aio.tasks import background_tasks
from registry_proxy.oci.reference import Repository
from registry_proxy.upstream.auth.credentials import StaticCredentials
from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule
from registry_proxy.upstream.base import UpstreamDeniedError, UpstreamError
from registry_proxy.upstream.client import RegistryClient
from registry_proxy.upstream.transport import Transport

if TYPE_CHECKING:
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.upstream.auth.credentials import Credentials
    from registry_proxy.upstream.presets import Preset

# Some registries scope the challenge of /v2/ to a repository. No content is requested.
_ANY = Repository("library/alpine")


@dataclass(frozen=True, slots=True)
class Outcome:
    """True if the registry accepts the credentials; `text` describes its response."""

    accepted: bool
    text: str


async def try_credentials(preset: Preset, credentials: Credentials) -> Outcome:
    """Log in to the registry in the same way as the server."""
    # The errors are caught inside: the task group would wrap them into a group.
    async with background_tasks() as background:
        try:
            return await _log_in(preset, credentials, background)
        except UpstreamDeniedError as error:
            return Outcome(
                False, f"{preset.registry} refuses the credentials of {credentials.username}: {error}."
            )
        except UpstreamError as error:
            return Outcome(False, f"the credentials for {preset.registry} couldn't be tested: {error}.")


async def _log_in(preset: Preset, credentials: Credentials, background: BackgroundTasks) -> Outcome:
    home = URL(preset.url)
    transport = Transport(home)
    try:
        rule = RealmRule(home.origin(), preset.realm_hosts, PublicSuffixes())
        page = home.with_path("/v2/")
        if await _is_open(transport, page):
            return Outcome(
                True, f"{preset.registry} requires no login for /v2/, so the credentials couldn't be tested."
            )
        client = RegistryClient(transport, rule, StaticCredentials(credentials), time.time, background)
        async with client.open("GET", page, _ANY, {}) as response:
            if response.status == 200:
                return Outcome(True, f"{preset.registry} accepts the credentials of {credentials.username}.")
            raise await response.refusal(time.time())
    finally:
        await transport.close()


async def _is_open(transport: Transport, page: URL) -> bool:
    response = await transport.send("GET", page, {})
    try:
        return response.status == 200
    finally:
        await response.discard()


def unresolved(names: list[str]) -> list[str]:
    """Return the host names that do not resolve."""
    return [name for name in names if not _resolves(name)]


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False
    return True
