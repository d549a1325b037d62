"""One HTTP request, and the head of its answer: to a given address, under a given name, trusting as told."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.addresses import reachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.config import Address

_PATIENCE = 10.0  # seconds
_LONGEST_HEAD = 64 * 1024
# The PROXY protocol, section 2.1: what the proxy itself asks has no client.
PROXY_HEADER = b"PROXY UNKNOWN\r\n"


class AskError(Exception):
    """There was no HTTP answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: `name` is the host of the request and of TLS. `preamble` goes before anything else."""

    address: str
    port: int
    name: str
    tls: ssl.SSLContext | None = None
    preamble: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer, its header names in lower case, and the certificate that was shown (DER)."""

    status: int
    reason: str
    headers: Mapping[str, str]
    certificate: bytes | None

    @property
    def is_ours(self) -> bool:
        """Whether this program gave it."""
        return self.headers.get("cache-status", "").startswith("registry-proxy")


async def ask(
    target: Target, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Reply:
    """The answer. Raises AskError, or ssl.SSLError where TLS can't be agreed on."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await _ask(target, path, method, headers or {})
    except TimeoutError:
        raise AskError(f"there is no answer within {_PATIENCE:g} s") from None
    except ssl.SSLError:
        raise
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise AskError(_said(error)) from None


async def ask_listener(
    address: Address, name: str, *, tls: ssl.SSLContext | None = None, preamble: bytes = b""
) -> Reply:
    """What this machine's own listener says of itself. Raises AskError or ssl.SSLError."""
    *others, last = reachable(address.host)
    for host in others:
        try:
            return await ask(Target(host, address.port, name, tls, preamble), "/v2/")
        except AskError:
            continue
    return await ask(Target(last, address.port, name, tls, preamble), "/v2/")


async def _ask(target: Target, path: str, method: str, headers: Mapping[str, str]) -> Reply:
    reader, writer = await asyncio.open_connection(target.address, target.port, limit=_LONGEST_HEAD)
    try:
        writer.write(target.preamble)
        if target.tls is not None:
            await writer.start_tls(target.tls, server_hostname=target.name)
        shown = writer.get_extra_info("ssl_object")
        fields = {"Host": target.name, "Connection": "close", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        return _reply(head, shown.getpeercert(binary_form=True) if shown else None)
    finally:
        writer.transport.abort()


def _reply(head: str, certificate: bytes | None) -> Reply:
    first, *lines = head.split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/") or not status.isdecimal():
        raise ValueError("the answer is no HTTP")
    fields = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return Reply(int(status), reason, headers, certificate)


def _said(error: Exception) -> str:
    match error:
        case asyncio.IncompleteReadError() | EOFError():
            return "the connection was closed without an answer"
        case asyncio.LimitOverrunError():
            return "the answer's head is too long"
        case OSError(errno=number) if number:
            return os.strerror(number)  # asyncio's own words tell where it connected to
        case _:
            return str(error)


def trusting_anyone() -> ssl.SSLContext:
    """For looks at what is shown, whoever shows it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
