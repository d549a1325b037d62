"""Whether the host names of the caches lead here."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.doctor.addresses import is_loopback, is_ours, resolve
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.doctor.probe import PROXY_HEADER, AskError, Target, ask, trusting_anyone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.config import Settings


def name_checks(settings: Settings) -> Iterator[Check]:
    """A check for each host name."""
    for name in settings.hostnames:
        yield Check(f"name {name}", partial(check_name, name, settings))


async def check_name(name: str, settings: Settings) -> AsyncIterator[Finding]:
    """Where the name leads: to this machine, or at least to a server of this program."""
    subject = f"name {name}"
    try:
        addresses = await resolve(name)
    except (OSError, UnicodeError) as error:
        text = f"it can't be resolved: {getattr(error, 'strerror', None) or error}"
        yield fail(subject, text, "Add it to the DNS, with the addresses by which clients reach this server.")
        return
    told = ", ".join(addresses)
    if all(is_loopback(address) for address in addresses):
        text = f"leads to {told}: to this machine for itself alone"
        yield warn(subject, text, "See that other machines' name servers know it by another address.")
    elif any(is_ours(address) for address in addresses):
        yield ok(subject, f"leads to {told}, an address of this machine")
    elif await _leads_to_us(name, addresses[0], settings):
        yield ok(subject, f"leads to {told}, where a server of this program answers")
    else:
        text = f"leads to {told}, no address of this machine, and no registry-proxy answers there"
        yield warn(
            subject, text, "Right if a load balancer or address translation is in between; else mend the DNS."
        )


async def _leads_to_us(name: str, address: str, settings: Settings) -> bool:
    public = urlsplit(settings.server.public_url or "")
    encrypted = settings.tls is not None or public.scheme == "https"
    port = public.port or (443 if encrypted else 80)
    if not public.scheme:
        port = settings.tls.listen[0].port if settings.tls else settings.server.listen[0].port
    preamble = PROXY_HEADER if settings.access.proxy_protocol else b""
    try:
        target = Target(address, port, name, trusting_anyone() if encrypted else None, preamble)
        return (await ask(target, "/v2/")).is_ours
    except (AskError, ssl.SSLError):
        return False
