"""Checks of the answers: credentials at their registry, host names at the resolver."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Repository
from registry_proxy.service.wiring.upstreams import open_upstream
from registry_proxy.upstream.auth.credentials import StaticCredentials
from registry_proxy.upstream.base import UpstreamDeniedError, UpstreamError

if TYPE_CHECKING:
    from registry_proxy.upstream.auth.credentials import Credentials
    from registry_proxy.upstream.presets import Preset

# Some registries name a repository in the challenge of /v2/. No content is requested.
_ANY = Repository("library/alpine")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a login: whether the registry accepted the credentials, and what it did."""

    accepted: bool
    text: str


async def try_credentials(preset: Preset, credentials: Credentials) -> Outcome:
    """Log in to the registry in the same way as the server."""
    async with open_upstream(preset, StaticCredentials(credentials)) as upstream:
        try:
            if (await upstream.ping()).status == 200:
                return Outcome(
                    True,
                    f"{preset.registry} requires no login for /v2/, so the credentials couldn't be tested.",
                )
            await upstream.check_login(_ANY)
        except UpstreamDeniedError as error:
            return Outcome(
                False, f"{preset.registry} refuses the credentials of {credentials.username}: {error}."
            )
        except UpstreamError as error:
            return Outcome(False, f"the credentials for {preset.registry} couldn't be tested: {error}.")
    return Outcome(True, f"{preset.registry} accepts the credentials of {credentials.username}.")


def unresolved(names: list[str]) -> list[str]:
    """Return the host names that do not resolve."""
    return [name for name in names if not _resolves(name)]


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False
    return True
