"""TLS of a client's connection: asyncio's protocol with small buffers, and with the flow control of its socket.

asyncio keeps a receive buffer of 256 KiB for each connection. Requests are small: 16 KiB, one TLS record, are enough.
It also reports only its own buffer to the application, not that of the socket, so that a client that does not read
would cost both.
"""

from __future__ import annotations

import asyncio
import math
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from registry_proxy.server.connection import Connection
    from registry_proxy.server.connections import OpenConnections

# In seconds: the time for a client to read the rest of a response, and to send its close_notify.
_CLOSE_TIMEOUT = 30.0


class _Nobody(asyncio.BufferedProtocol):
    """The protocol of a lost connection."""


class ClientTls(SSLProtocol):
    """The TLS layer between a socket's transport and `connection`, which is made once the handshake has succeeded."""

    max_size = 16 * 1024  # bytes

    def __init__(
        self,
        connection: Connection,
        connections: OpenConnections,
        context: ssl.SSLContext,
        handshake_timeout: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        handshake: asyncio.Future[None] = loop.create_future()
        super().__init__(
            loop,
            connection,
            context,
            handshake,
            server_side=True,
            ssl_handshake_timeout=math.ceil(handshake_timeout),
            ssl_shutdown_timeout=_CLOSE_TIMEOUT,
        )
        self._app_transport.set_read_buffer_limits(high=self.max_size)
        self._connection = connection
        self._is_blocked = False
        self._connections = connections
        connections.opening += 1
        handshake.add_done_callback(self._opened)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connection.socket_connected(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        # The connection refers to its transport, and so to this object: the collector would find both late.
        self._set_app_protocol(_Nobody())
        del self._connection

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_blocked = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._is_blocked = False
        super().resume_writing()
        # The rest of its buffer may have filled the socket again.
        if not self._is_blocked:
            self._connection.resume_writing()

    def _opened(self, handshake: asyncio.Future[None]) -> None:
        self._connections.opening -= 1
        # A failed handshake is the client's: asyncio would report an exception that nothing has read.
        handshake.exception()
