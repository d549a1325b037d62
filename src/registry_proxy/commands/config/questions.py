"""The questions in their order, and what they came to in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.config.access import ask_access
from registry_proxy.commands.config.certificates import ask_certificates
from registry_proxy.commands.config.credentials import ask_credentials
from registry_proxy.commands.config.registries import ask_hostnames, ask_registries
from registry_proxy.commands.config.storage import ask_storage
from registry_proxy.config.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.config.context import Context
    from registry_proxy.config import Settings


def ask_all(context: Context) -> None:
    """Fill the wishes. Raises MissingAnswerError, RefusedAnswerError, PasswordError, KeyboardInterrupt."""
    ask_registries(context)
    hostnames = ask_hostnames(context)
    ask_credentials(context)
    certificates = ask_certificates(context, hostnames)
    ask_access(context, certificates)
    ask_storage(context)


def summary(settings: Settings) -> Iterator[str]:
    """What the settings come to, a line each."""
    for upstream in settings.upstreams.values():
        name = f" as {upstream.hostname}" if upstream.hostname else ""
        login = f", logged in as {upstream.username}" if upstream.username else ""
        yield f"  {upstream.registry}{name}{login}"
    tls = settings.tls
    listen = tls.listen if tls else settings.server.listen
    source = f"certificates from {tls.acme or 'files'}" if tls else "no TLS"
    yield f"  listening on {', '.join(map(str, listen))}, {source}"
    access = settings.access
    mirror_routes = [
        *([f"users of {access.htpasswd}"] if access.htpasswd else []),
        *([f"certificates by {access.client_ca}"] if access.client_ca else []),
        *([f"addresses in {', '.join(map(str, access.sources))}"] if access.sources else []),
    ]
    yield f"  open to {'; '.join(mirror_routes) or 'anyone'}"
    limit = format_size(settings.storage.max_size) if settings.storage.max_size else "no limit"
    yield f"  kept in {settings.storage.path}, {limit}"
