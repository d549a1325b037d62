"""One HTTP request to a given address, under a given host name, and the head of its response."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.config import Address, Settings

_TIMEOUT = 10.0  # seconds
_MAX_HEAD = 64 * 1024  # bytes
# The PROXY protocol, section 2.1: a health check by the proxy itself names no addresses.
_PROXY_HEADER = b"PROXY UNKNOWN\r\n"


class ProbeError(Exception):
    """No HTTP response. The text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to connect to. `name` is the host of the request; `preamble` is sent first.

    With `sni` the name is also sent in TLS (RFC 6066, section 3), and the server selects its certificate by it.
    """

    address: str
    port: int
    name: str
    tls: ssl.SSLContext | None = None
    preamble: bytes = b""
    sni: bool = True


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """The head of a response, with header names in lower case, and the server's certificate (DER)."""

    status: int
    reason: str
    headers: Mapping[str, str]
    certificate: bytes | None

    @property
    def is_ours(self) -> bool:
        """True if a registry-proxy sent it."""
        return self.headers.get("cache-status", "").startswith("registry-proxy")


async def probe(
    endpoint: Endpoint,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout: float = _TIMEOUT,  # noqa: ASYNC109 - part of the error's text
) -> ProbeResponse:
    """Send a request and return the response. Raise ProbeError, or ssl.SSLError if the TLS handshake fails."""
    try:
        async with asyncio.timeout(timeout):
            return await _send(endpoint, path, method, headers or {})
    except TimeoutError:
        raise ProbeError(f"there is no response within {timeout:g} s") from None
    except ssl.SSLError:
        raise
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise ProbeError(_reason(error)) from None


async def probe_listener(
    address: Address,
    settings: Settings,
    *,
    tls: ssl.SSLContext | None = None,
    name: str | None = None,
    timeout: float = _TIMEOUT,  # noqa: ASYNC109 - part of the error's text
) -> ProbeResponse:
    """Send `GET /v2/` to a listener of this machine. Raise ProbeError or ssl.SSLError.

    Without a `name`, the request has a configured host name, and TLS has none: the server refuses a name that it does
    not serve, and one whose certificate is not issued yet.
    """
    host = name or next(iter(settings.hostnames), "localhost")
    *others, last = (
        Endpoint(each, address.port, host, tls, proxy_preamble(settings), sni=name is not None)
        for each in _local_addresses(address.host)
    )
    for endpoint in others:
        try:
            return await probe(endpoint, "/v2/", timeout=timeout)
        except ProbeError:
            continue
    return await probe(last, "/v2/", timeout=timeout)


def proxy_preamble(settings: Settings) -> bytes:
    """Return the bytes to send before a request: a PROXY header, if the listeners are behind a proxy."""
    return _PROXY_HEADER if settings.access.proxy_protocol else b""


def unverified_context() -> ssl.SSLContext:
    """Return a TLS context that accepts every certificate: the probe checks the response, not the server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _local_addresses(host: str) -> list[str]:
    """Return the addresses to reach a listener on `host` from this machine."""
    match host:
        case "0.0.0.0":  # noqa: S104
            return ["127.0.0.1"]
        case "::":
            return ["::1", "127.0.0.1"]  # a kernel without IPv6 has only the second
        case _:
            return [host]


async def _send(endpoint: Endpoint, path: str, method: str, headers: Mapping[str, str]) -> ProbeResponse:
    reader, writer = await asyncio.open_connection(endpoint.address, endpoint.port, limit=_MAX_HEAD)
    try:
        writer.write(endpoint.preamble)
        if endpoint.tls is not None:
            await writer.start_tls(endpoint.tls, server_hostname=endpoint.name if endpoint.sni else None)
        session = writer.get_extra_info("ssl_object")
        fields = {"Host": endpoint.name, "Connection": "close", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        return _parse(head, session.getpeercert(binary_form=True) if session else None)
    finally:
        writer.transport.abort()


def _parse(head: str, certificate: bytes | None) -> ProbeResponse:
    first, *lines = head.split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/") or not status.isdecimal():
        raise ValueError("the response is not HTTP")
    fields = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return ProbeResponse(int(status), reason, headers, certificate)


def _reason(error: Exception) -> str:
    match error:
        case asyncio.IncompleteReadError() | EOFError():
            return "the connection was closed without a response"
        case asyncio.LimitOverrunError():
            return "the head of the response is too long"
        case OSError(errno=number) if number:
            return os.strerror(number)  # asyncio's message repeats the address
        case _:
            return str(error)
