"""Checks of the server's addresses: the server listens there, or can."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.findings import RUN_AS_OWNER, Finding, fail, ok, warn
from registry_proxy.commands.probe import ProbeError, probe_listener, unverified_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from registry_proxy.commands.probe import ProbeResponse
    from registry_proxy.config import Address, Settings

_TAKEN = "Find the program with `ss -ltnp` and stop it, or set another address: {key}."


async def check_ports(settings: Settings, *, running: bool | None) -> AsyncIterator[Finding]:
    """Check each address. `running` is whether the server has workers; None is unknown to this user."""
    tls = settings.tls
    for address in settings.server.listen:
        yield await _check(address, "server.listen", settings, running=running)
    for address in tls.listen if tls else ():
        yield await _check(address, "tls.listen", settings, running=running)
    for address in tls.http if tls else ():
        yield await _check(address, "tls.http", settings, running=running)


async def _check(address: Address, key: str, settings: Settings, *, running: bool | None) -> Finding:
    subject = f"port {address}"
    if address.port == 0:
        return ok(subject, "any free port is used; the server's log contains it")
    try:
        context = unverified_context() if key == "tls.listen" else None
        response = await probe_listener(address, settings, tls=context)
    except ssl.SSLError as error:
        return _without_response(subject, f"TLS failed: {error.reason or error}", key)
    except ProbeError as error:
        if _is_taken(address):
            return _without_response(subject, str(error), key)
        return _free(subject, address, key, running=running)
    return _with_response(subject, response, key)


def _with_response(subject: str, response: ProbeResponse, key: str) -> Finding:
    if response.is_ours:
        return ok(subject, "the server responds")
    location = response.headers.get("location", "")
    if key == "tls.http" and response.status == 308 and location.startswith("https://"):
        return ok(subject, "the server redirects requests to HTTPS")
    program = response.headers.get("server", "an unknown one")
    return fail(subject, f"another server responds here: {program}", _TAKEN.format(key=key))


def _without_response(subject: str, reason: str, key: str) -> Finding:
    remedy = f"If this is the server, its log contains the reason. {_TAKEN.format(key=key)}"
    return fail(subject, f"in use, but there is no valid response: {reason}", remedy)


def _free(subject: str, address: Address, key: str, *, running: bool | None) -> Finding:
    if running:
        text = "the server runs, but does not listen here"
        return fail(subject, text, f"Restart it if {key} has changed since it was started.")
    error = _bind(address)
    if error is None:
        return ok(subject, "free for the server")
    if error.errno == errno.EACCES and running is None:
        text = f"nothing listens here; user {os.geteuid()} can't check whether the server could"
        return warn(subject, text, RUN_AS_OWNER)
    if error.errno == errno.EACCES:
        remedy = "Install the server with `registry-proxy install systemd`, which grants this right, or set another"
        return fail(subject, f"not allowed for user {os.geteuid()}", f"{remedy} address: {key}.")
    return fail(subject, f"cannot listen here: {error.strerror}", f"Set an address of this machine: {key}.")


def _is_taken(address: Address) -> bool:
    error = _bind(address)
    return error is not None and error.errno == errno.EADDRINUSE


def _bind(address: Address) -> OSError | None:
    """Return the error of an attempt to listen on the address, if any."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.create_server((address.host, address.port), family=family):
            return None
    except OSError as error:
        return error
