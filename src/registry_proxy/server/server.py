"""Server of one process: opening connections, deadlines, and the shutdown."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.server.acceptor import Acceptor
from registry_proxy.server.client_tls import ClientTls
from registry_proxy.server.connection import READ_SIZE, Connection, Shared
from registry_proxy.server.connections import OpenConnections
from registry_proxy.server.proxy_protocol import InvalidProxyHeaderError, read_header

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.observe.observer import Observer
    from registry_proxy.policy.access import Address
    from registry_proxy.server.connection import Application, Limits
    from registry_proxy.server.responses import Dates

log = logging.getLogger(__name__)

_SWEEP_INTERVAL = 1.0  # seconds


class Server:
    """Server of an application on sockets that are already bound."""

    def __init__(
        self,
        app: Application,
        dates: Dates,
        background: BackgroundTasks,
        limits: Limits,
        observer: Observer,
    ) -> None:
        self._background = background
        self._limits = limits
        self._connections = OpenConnections(limits.connections)
        buffer = memoryview(bytearray(READ_SIZE))
        self._shared = Shared(app, dates, background, limits, observer, self._connections, buffer)
        self._acceptors: list[Acceptor] = []

    async def start(
        self,
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None = None,
        *,
        behind_proxy: bool = False,
    ) -> None:
        """Accept connections. With `behind_proxy`, each one starts with a PROXY header."""
        for listener in sockets:
            open_connection = partial(self._spawn_opening, tls, behind_proxy)
            acceptor = Acceptor(listener, open_connection, self._connections.has_room)
            self._acceptors.append(acceptor)
            acceptor.start()

    async def sweep(self) -> None:
        """Drop connections whose deadline has passed, once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            now = loop.time()
            for connection in list(self._connections):
                if connection.deadline is not None and connection.deadline < now:
                    connection.abort()

    async def drain(self, grace: float) -> None:
        """Stop accepting, give responses in progress `grace` seconds to finish, then drop the remaining connections."""
        while self._acceptors:
            self._acceptors.pop().close()
        for connection in list(self._connections):
            connection.finish()
        try:
            async with asyncio.timeout(grace):
                await self._connections.empty.wait()
        except TimeoutError:
            log.warning(
                "dropping %d connections that did not finish within %.0f s", len(self._connections), grace
            )
        for connection in list(self._connections):
            connection.abort()

    def _spawn_opening(self, tls: ssl.SSLContext | None, behind_proxy: bool, sock: socket.socket) -> None:
        self._background.spawn(self._open(sock, tls, behind_proxy=behind_proxy), "opening a connection")

    async def _open(self, sock: socket.socket, tls: ssl.SSLContext | None, *, behind_proxy: bool) -> None:
        loop = asyncio.get_running_loop()
        self._connections.opening += 1
        try:
            address = await self._proxied_address(sock) if behind_proxy else None
            await loop.connect_accepted_socket(partial(self._protocol, address, tls), sock)
        except InvalidProxyHeaderError as error:
            log.warning(
                "a connection from %s was refused: %s. Only a load balancer that sends PROXY headers may connect",
                _peer(sock),
                error,
            )
            sock.close()
        except OSError as error:
            log.debug("a connection from %s ended: %r", _peer(sock), error)
            sock.close()
        except BaseException:
            sock.close()
            raise
        finally:
            self._connections.opening -= 1

    async def _proxied_address(self, sock: socket.socket) -> Address | None:
        """Return the client's address in the PROXY header. Raise InvalidProxyHeaderError or OSError."""
        limit = self._limits.header_timeout
        try:
            async with asyncio.timeout(limit):
                return await read_header(sock)
        except TimeoutError:
            raise InvalidProxyHeaderError(f"no PROXY header within {limit:g} s") from None

    def _protocol(self, address: Address | None, tls: ssl.SSLContext | None) -> Connection | ClientTls:
        connection = Connection(self._shared, address)
        if tls is None:
            return connection
        return ClientTls(connection, self._connections, tls, self._limits.header_timeout)


def _peer(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "a client that has disconnected"
    return str(name[0]) if isinstance(name, tuple) else "a Unix socket"
