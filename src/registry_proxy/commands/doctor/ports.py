"""Whether the server listens where it should, and nobody else does."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.findings import Finding, fail, ok
from registry_proxy.commands.doctor.probe import PROXY_HEADER, AskError, Reply, ask_listener, trusting_anyone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from registry_proxy.config import Address, Settings

_TAKEN = "Find it by `ss -ltnp` and stop it, or set another address: {key}."


async def check_ports(settings: Settings, *, running: bool) -> AsyncIterator[Finding]:
    """A finding for each address; `running` tells whether workers are alive."""
    tls = settings.tls
    preamble = PROXY_HEADER if settings.access.proxy_protocol else b""
    for address in settings.server.listen:
        yield await _check(address, "server.listen", preamble, running=running)
    for address in tls.listen if tls else ():
        yield await _check(address, "tls.listen", preamble, running=running)
    for address in tls.http if tls else ():
        yield await _check(address, "tls.http", preamble, running=running)


async def _check(address: Address, key: str, preamble: bytes, *, running: bool) -> Finding:
    subject = f"port {address}"
    if address.port == 0:
        return ok(subject, "any free one is taken; the server's log tells which")
    try:
        context = trusting_anyone() if key == "tls.listen" else None
        reply = await ask_listener(address, "localhost", tls=context, preamble=preamble)
    except ssl.SSLError as error:
        return _unanswered(subject, f"TLS failed: {error.reason or error}", key)
    except AskError as error:
        if _is_taken(address):
            return _unanswered(subject, str(error), key)
        return _free(subject, address, key, running=running)
    return _answered(subject, reply, key)


def _answered(subject: str, reply: Reply, key: str) -> Finding:
    if reply.is_ours:
        return ok(subject, "the server answers")
    if key == "tls.http" and reply.status == 308 and reply.headers.get("location", "").startswith("https://"):
        return ok(subject, "the server sends requests on to HTTPS")
    who = reply.headers.get("server", "something else")
    return fail(subject, f"another server answers here: {who}", _TAKEN.format(key=key))


def _unanswered(subject: str, reason: str, key: str) -> Finding:
    remedy = f"If it is the server, its log says why. {_TAKEN.format(key=key)}"
    return fail(subject, f"it is taken, but not answered as by the server: {reason}", remedy)


def _free(subject: str, address: Address, key: str, *, running: bool) -> Finding:
    if running:
        text = "the server runs, but does not listen here"
        return fail(subject, text, f"Restart it if {key} has changed since its start.")
    error = _bind(address)
    if error is None:
        return ok(subject, "free for the server")
    if error.errno == errno.EACCES:
        remedy = (
            "Run it by `registry-proxy install systemd`, which gives it the right, or set another address."
        )
        return fail(subject, f"not allowed for user {os.geteuid()}", f"{remedy} The key is {key}.")
    return fail(
        subject, f"it can't be listened on: {error.strerror}", f"Set an address of this machine: {key}."
    )


def _is_taken(address: Address) -> bool:
    error = _bind(address)
    return error is not None and error.errno == errno.EADDRINUSE


def _bind(address: Address) -> OSError | None:
    """What is in the way of listening there."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.create_server((address.host, address.port), family=family):
            return None
    except OSError as error:
        return error
