"""`registry-proxy healthcheck`: whether the server of this machine, or this container, answers."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from registry_proxy.commands.common import FailedError

if TYPE_CHECKING:
    from registry_proxy.config import Address, Settings

_PATIENCE = 4.0  # seconds
# It is only asked for; who may pull is told there (401, 403), and then the server answers, too.
_REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# The PROXY protocol, section 2.1: a health check of the proxy itself names no addresses.
_PROXY_HEADER = b"PROXY UNKNOWN\r\n"
_ALIVE = b"HTTP/1.1 200"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def check(settings: Settings) -> None:
    """Ask at each address for an answer that is no 5xx. Raises FailedError."""
    preamble = _PROXY_HEADER if settings.access.proxy_protocol else b""
    for address in settings.server.listen:
        _check(address, preamble, tls=False)
    for address in settings.tls.listen if settings.tls else ():
        _check(address, preamble, tls=True)


def _check(address: Address, preamble: bytes, *, tls: bool) -> None:
    try:
        status = _status(address, preamble, tls=tls)
    except OSError as error:
        raise FailedError(f"{address} doesn't answer: {error.strerror or error}.") from error
    if not status.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")):
        raise FailedError(f"{address} answers {status.decode(errors='replace') or 'nothing'}.")


def _status(address: Address, preamble: bytes, *, tls: bool) -> bytes:
    with _connect(address) as raw:
        raw.sendall(preamble)
        try:
            sock = _secured(raw) if tls else raw
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError:
            return _ALIVE  # it speaks TLS, but its first certificate may still be on its way
        with sock:
            sock.sendall(_REQUEST)
            return sock.recv(1024).partition(b"\r\n")[0]


def _secured(raw: socket.socket) -> socket.socket:
    # Who the server is doesn't matter here.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw)


def _connect(address: Address) -> socket.socket:
    host = _ANY.get(address.host, address.host)
    try:
        return socket.create_connection((host, address.port), _PATIENCE)
    except OSError:
        if address.host != "::":
            raise
        return socket.create_connection(("127.0.0.1", address.port), _PATIENCE)  # there is no IPv6
