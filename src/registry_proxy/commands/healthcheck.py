"""`registry-proxy healthcheck`: a request to each address of the server, on its own machine or in its container."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from registry_proxy.commands.common import ConfigOption, FailedError, command, settings_loader
from registry_proxy.commands.probe import ProbeError, probe_listener, unverified_context
from registry_proxy.service.site import is_preparing
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from registry_proxy.config import Address, Settings

_TIMEOUT = 4.0  # seconds


@command("Example: registry-proxy healthcheck")
def healthcheck(config: ConfigOption = None) -> None:
    """Check whether the server on this machine, or in this container, responds on its addresses.

    Exit code 1 if it does not.
    """
    asyncio.run(_check(settings_loader(config)()))


async def _check(settings: Settings) -> None:
    for address in settings.server.listen:
        await _check_address(address, settings, None)
    for address in settings.tls.listen if settings.tls else ():
        await _check_address(address, settings, unverified_context())


def _remark(settings: Settings) -> str:
    """Return what is known about a server that does not respond."""
    with contextlib.suppress(OSError, StoreError):
        if is_preparing(settings.storage.path):
            return " The server prepares its store: after the loss of the index it counts the content again."
    return ""


async def _check_address(address: Address, settings: Settings, tls: ssl.SSLContext | None) -> None:
    """Raise FailedError unless the server responds. 401 and 403 are responses: it requires a login."""
    try:
        response = await probe_listener(address, settings, tls=tls, timeout=_TIMEOUT)
    except ssl.SSLError:
        return  # the server speaks TLS, but possibly waits for its first certificate
    except ProbeError as error:
        raise FailedError(f"{address} does not respond: {error}.{_remark(settings)}") from error
    if response.status // 100 not in {2, 4}:
        raise FailedError(f"{address} responds with {response.status} {response.reason}.")
