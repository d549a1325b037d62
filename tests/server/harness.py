"""The real server in the test's loop, and clients that send it whatever bytes they like."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.kit.waiting import TIMEOUT

from registry_proxy.observe.counters import Counters
from registry_proxy.policy.access import AddressRanges
from registry_proxy.server.app import App
from registry_proxy.server.connection import Limits
from registry_proxy.server.gate import AccessRule, Gate
from registry_proxy.server.responses import Dates
from registry_proxy.server.routes import Router
from registry_proxy.server.server import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from tests.cache.harness import Site, Worker

    from registry_proxy.upstream.upstream import RegistryUpstream

LIMITS = Limits(header_timeout=10.0, idle_timeout=75.0)


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case; of several with one name the values are joined by commas."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.writer.is_closing():  # before 3.11.4, CPython's TLS transport can't be aborted after that
            self.writer.transport.abort()

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self.writer.write(data if isinstance(data, bytes) else data.encode("latin-1"))

    def ask(self, target: str, method: str = "GET", host: str = "cache.test", **headers: str) -> None:
        """Send a plain request; `if_range=` is the header `If-Range`."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]))

    async def head(self) -> Answer:
        """The next answer's head. Raises IncompleteReadError when the connection ends."""
        async with asyncio.timeout(TIMEOUT):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return Answer(int(status), reason, headers, b"")

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, whole."""
        head = await self.head()
        has_body = method != "HEAD" and head.status != 304
        length = int(head.headers.get("content-length", "0")) if has_body else 0
        async with asyncio.timeout(TIMEOUT):
            body = await self.reader.readexactly(length)
        return Answer(head.status, head.reason, head.headers, body)

    async def rest(self, seconds: float = 60) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@dataclass
class Edge:
    """A server over a worker's cache, with one upstream as the default registry."""

    site: Site
    worker: Worker
    app: App
    server: Server
    counters: Counters
    port: int

    async def connect(self, tls: ssl.SSLContext | None = None) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20, ssl=tls))

    async def get(self, target: str, method: str = "GET", host: str = "cache.test", **headers: str) -> Answer:
        """One request on a connection of its own."""
        async with await self.connect() as wire:
            wire.ask(target, method, host, **headers)
            return await wire.answer(method)

    def socket(self, receive_buffer: int) -> socket.socket:
        """A connected socket that takes few bytes before its owner reads."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", self.port))
        return sock


def router(upstream: RegistryUpstream, **more: RegistryUpstream) -> Router[RegistryUpstream]:
    """`upstream` is the default; `more` are others, each under `hub.NAME.test` and under its registry's name."""
    everyone = [upstream, *more.values()]
    return Router(
        {f"hub.{name}.test": other for name, other in more.items()} | {"[::1]": upstream},
        {each.registry: each for each in everyone},
        upstream,
    )


@asynccontextmanager
async def serving(
    site: Site,
    worker: Worker,
    *,
    limits: Limits = LIMITS,
    tls: ssl.SSLContext | None = None,
    **more: RegistryUpstream,
) -> AsyncIterator[Edge]:
    """Serve a worker's cache on an ephemeral port."""
    counters = Counters()
    open_gate = Gate(AccessRule(), {}, AddressRanges(()))
    app = App(worker.cache, router(site.upstream, **more), open_gate)  # type: ignore[arg-type]
    server = Server(app, Dates(time.time), worker.background, limits, counters)
    listener = socket.create_server(("127.0.0.1", 0))
    sweep = worker.background.spawn(server.sweep(), "the sweep")
    await server.start([listener], tls)
    try:
        yield Edge(site, worker, app, server, counters, listener.getsockname()[1])
    finally:
        await server.drain(0)
        sweep.cancel()
