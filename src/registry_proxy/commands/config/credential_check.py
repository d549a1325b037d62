"""Trying what was answered: credentials at their registry, host names at the resolver."""

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
    from registry_proxy.upstream.auth.credentials import Credentials
    from registry_proxy.upstream.presets import Preset

# Some registries name a repository in the challenge of their first page; no content is asked for.
_ANY = Repository("library/alpine")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether credentials hold; `text` says what the registry did."""

    accepted: bool
    text: str


async def try_credentials(preset: Preset, credentials: Credentials) -> Outcome:
    """Log in to the registry as the server would."""
    home = URL(preset.url)
    transport = Transport(home)
    try:
        rule = RealmRule(home.origin(), preset.realm_hosts, PublicSuffixes())
        page = home.with_path("/v2/")
        if await _is_open(transport, page):
            return Outcome(True, f"{preset.registry} asks for no login at first, so they couldn't be tried.")
        async with (
            background_tasks() as background,
            RegistryClient(transport, rule, StaticCredentials(credentials), time.time, background).open(
                "GET", page, _ANY, {}
            ) as answer,
        ):
            if answer.status == 200:
                return Outcome(True, f"{preset.registry} accepts the credentials of {credentials.username}.")
            raise await answer.refusal(time.time())
    except UpstreamDeniedError as error:
        return Outcome(
            False, f"{preset.registry} refuses the credentials of {credentials.username}: {error}."
        )
    except UpstreamError as error:
        return Outcome(False, f"the credentials for {preset.registry} couldn't be tried: {error}.")
    finally:
        await transport.close()


async def _is_open(transport: Transport, page: URL) -> bool:
    answer = await transport.send("GET", page, {})
    try:
        return answer.status == 200
    finally:
        await answer.discard()


def unresolved(names: list[str]) -> list[str]:
    """Those of the host names that lead nowhere."""
    return [name for name in names if not _resolves(name)]


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False
    return True
