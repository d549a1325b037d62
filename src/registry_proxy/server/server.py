"""Server of one process: accepting connections, deadlines, and the shutdown."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.server.connection import Connection
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
_BACKLOG = 1024
# In seconds: the time for a TLS client to read the rest of a response, up to 1 MiB, and to send its close_notify.
_TLS_CLOSE_TIMEOUT = 300.0


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
        self._app = app
        self._dates = dates
        self._background = background
        self._limits = limits
        self._observer = observer
        self._connections = _OpenConnections()
        self._listeners: list[asyncio.Server] = []
        self._acceptors: list[asyncio.Task[None]] = []

    async def start(
        self,
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None = None,
        *,
        behind_proxy: bool = False,
    ) -> None:
        """Accept connections. With `behind_proxy`, each one starts with a PROXY header."""
        loop = asyncio.get_running_loop()
        if behind_proxy:
            for sock in sockets:
                sock.setblocking(False)
                self._acceptors.append(
                    self._background.spawn(self._accept_proxied(sock, tls), "accepting connections")
                )
            return
        handshake, tls_close = self._tls_timeouts(tls)
        for sock in sockets:
            listener = await loop.create_server(
                self._connection,
                sock=sock,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=tls_close,
            )
            self._listeners.append(listener)

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
        for listener in self._listeners:
            listener.close()
        for acceptor in self._acceptors:
            acceptor.cancel()
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

    async def _accept_proxied(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    sock, peer = await loop.sock_accept(listener)
                except OSError as error:  # mostly too many open files: retry when some are closed
                    log.error("connection not accepted: %s", error)  # noqa: TRY400
                    await asyncio.sleep(_SWEEP_INTERVAL)
                    continue
                name = peer[0] if isinstance(peer, tuple) else "a Unix socket"
                self._background.spawn(self._open_proxied(sock, name, tls), "reading a PROXY header")
        finally:
            listener.close()

    async def _open_proxied(self, sock: socket.socket, peer: str, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            address = await self._proxied_address(sock)
            handshake, tls_close = self._tls_timeouts(tls)
            await loop.connect_accepted_socket(
                lambda: self._connection(address),
                sock,
                ssl=tls,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=tls_close,
            )
        except InvalidProxyHeaderError as error:
            log.warning(
                "a connection from %s was refused: %s. Only a load balancer that sends PROXY headers may connect",
                peer,
                error,
            )
            sock.close()
        except OSError as error:  # includes TLS errors, which clients cause
            log.debug("a connection from %s ended: %r", peer, error)
            sock.close()
        except BaseException:
            sock.close()
            raise

    async def _proxied_address(self, sock: socket.socket) -> Address | None:
        """Return the client's address in the PROXY header. Raise InvalidProxyHeaderError or OSError."""
        limit = self._limits.header_timeout
        try:
            async with asyncio.timeout(limit):
                return await read_header(sock)
        except TimeoutError:
            raise InvalidProxyHeaderError(f"no PROXY header within {limit:g} s") from None

    def _tls_timeouts(self, tls: ssl.SSLContext | None) -> tuple[float | None, float | None]:
        """Return the timeouts for the handshake and for close_notify. asyncio accepts them only with TLS."""
        return (self._limits.header_timeout, _TLS_CLOSE_TIMEOUT) if tls is not None else (None, None)

    def _connection(self, proxied_address: Address | None = None) -> Connection:
        return Connection(
            self._app,
            self._dates,
            self._background,
            self._limits,
            self._observer,
            self._connections,
            proxied_address=proxied_address,
        )


class _OpenConnections(set[Connection]):
    """The open connections, and an event that is set while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, connection: Connection) -> None:
        super().add(connection)
        self.empty.clear()

    def remove(self, connection: Connection) -> None:
        super().discard(connection)
        if not self:
            self.empty.set()
