"""The questions in their order, and a summary of the resulting settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.config.ask_access import ask_access
from registry_proxy.commands.config.ask_certificates import ask_certificates
from registry_proxy.commands.config.ask_credentials import ask_credentials
from registry_proxy.commands.config.ask_registries import ask_hostnames, ask_registries
from registry_proxy.commands.config.ask_runner import ask_runner
from registry_proxy.commands.config.ask_storage import ask_storage
from registry_proxy.config.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.commands.config.context import Context
    from registry_proxy.config import Settings


def ask_all(context: Context) -> None:
    """Ask all questions.

    Raise MissingAnswerError, RefusedAnswerError, PasswordError or KeyboardInterrupt.
    """
    ask_runner(context)
    ask_registries(context)
    hostnames = ask_hostnames(context)
    ask_credentials(context)
    certificates = ask_certificates(context, hostnames)
    ask_access(context, certificates)
    ask_storage(context)


def summary(settings: Settings, store: Path | None) -> Iterator[str]:
    """Yield a summary of the settings, line by line. `store` replaces the directory of the store."""
    for upstream in settings.upstreams.values():
        name = f" as {upstream.hostname}" if upstream.hostname else ""
        login = f", logged in as {upstream.username}" if upstream.username else ""
        yield f"  {upstream.registry}{name}{login}"
    yield f"  listening on {'; '.join(_listeners(settings))}"
    if settings.server.public_url:
        yield f"  address for clients: {settings.server.public_url}"
    access = settings.access
    methods = [
        *([f"users of {access.htpasswd}"] if access.htpasswd else []),
        *([f"client certificates from {access.client_ca}"] if access.client_ca else []),
        *([f"addresses in {', '.join(map(str, access.sources))}"] if access.sources else []),
    ]
    yield f"  access: {'; '.join(methods) or 'every client'}"
    limit = format_size(settings.storage.max_size) if settings.storage.max_size else "no limit"
    yield f"  store: {store or settings.storage.path}, {limit}"


def _listeners(settings: Settings) -> Iterator[str]:
    tls = settings.tls
    if settings.server.listen:
        yield f"{', '.join(map(str, settings.server.listen))} (without TLS)"
    if tls:
        yield f"{', '.join(map(str, tls.listen))} (TLS, certificates from {tls.acme or 'files'})"
    if tls and tls.http:
        yield f"{', '.join(map(str, tls.http))} (redirects to HTTPS)"
