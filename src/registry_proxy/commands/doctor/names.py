"""Checks of the server's host names: each must resolve to this machine."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.doctor.addresses import is_loopback, is_ours, resolve
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.probe import Endpoint, ProbeError, probe, proxy_preamble, unverified_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.config import Settings


def name_checks(settings: Settings) -> Iterator[Check]:
    """Yield a check for each host name."""
    for name in settings.hostnames:
        yield Check(f"name {name}", partial(check_name, name, settings))


async def check_name(name: str, settings: Settings) -> AsyncIterator[Finding]:
    """Check that a host name resolves to this machine, or at least to a registry-proxy."""
    subject = f"name {name}"
    try:
        addresses = await resolve(name)
    except (OSError, UnicodeError) as error:
        text = f"does not resolve: {getattr(error, 'strerror', None) or error}"
        yield fail(subject, text, "Add it to the DNS, with the addresses by which clients reach this server.")
        return
    resolved = ", ".join(addresses)
    if all(is_loopback(address) for address in addresses):
        text = f"resolves to {resolved}, which only this machine can reach"
        yield warn(subject, text, "Check that it resolves to another address on other machines.")
    elif any(is_ours(address) for address in addresses):
        yield ok(subject, f"resolves to {resolved}, an address of this machine")
    elif await _is_registry_proxy(name, addresses[0], settings):
        yield ok(subject, f"resolves to {resolved}, where a registry-proxy responds")
    else:
        text = f"resolves to {resolved}: not an address of this machine, and no registry-proxy responds there"
        yield warn(
            subject,
            text,
            "Correct if a load balancer or address translation is in between; else fix the DNS.",
        )


async def _is_registry_proxy(name: str, address: str, settings: Settings) -> bool:
    public = urlsplit(settings.server.public_url or "")
    encrypted = settings.tls is not None or public.scheme == "https"
    port = public.port or (443 if encrypted else 80)
    if not public.scheme:
        port = settings.tls.listen[0].port if settings.tls else settings.server.listen[0].port
    context = unverified_context() if encrypted else None
    try:
        endpoint = Endpoint(address, port, name, context, proxy_preamble(settings))
        return (await probe(endpoint, "/v2/")).is_ours
    except (ProbeError, ssl.SSLError):
        return False
