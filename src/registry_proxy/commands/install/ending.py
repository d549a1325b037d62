"""The end of an installation: where the server responds, and the next command, as they work for this user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.client.endpoints import ClientError, server_of
from registry_proxy.commands.invocation import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.config import Settings


def addresses(settings: Settings, shared: str | None = None) -> Iterator[str]:
    """Yield the addresses of the server for its clients. `shared` is the host name of a reverse proxy in front."""
    try:
        server = server_of(settings, f"https://{shared}" if shared else None)
    except ClientError:
        listen = ", ".join(map(str, settings.tls.listen if settings.tls else settings.server.listen))
        yield (
            f"The server listens on {listen}. Clients need one of its addresses: set server.public_url, or pass "
            "--server to registry-proxy client."
        )
        return
    origins: dict[str, list[str]] = {}
    for mirror in server.mirrors:
        origins.setdefault(mirror.origin, []).append(mirror.registry)
    for origin, registries in origins.items():
        yield f"The server is {origin} ({', '.join(registries)})."


def client_command(config: Path | None, *, root: bool = False, program: str = "") -> str:
    """Return the next step: the command that configures clients."""
    return f"Next, configure each client: {command_line('client', 'KIND', config=config, root=root, program=program)}"
