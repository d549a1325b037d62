"""Connection of a client: HTTP/1.1 requests, with one response after the other."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.access import parse_address
from registry_proxy.server.body_writer import BodyWriter, ClientSpeed, DamagedFileError, send_bytes
from registry_proxy.server.failure_log import DAMAGED, log_aborted, log_malformed
from registry_proxy.server.read_floor import FOR_FILES, FOR_MEMORY, ReadFloor
from registry_proxy.server.request import Client, RefusedRequestError, Request, RequestReader
from registry_proxy.server.responses import SMALL_BODY, BlobResponse, Response, encode_head, error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.observe.observer import Observer
    from registry_proxy.policy.access import Address
    from registry_proxy.server.connections import OpenConnections
    from registry_proxy.server.responses import CachedResponse, Dates

log = logging.getLogger(__name__)

# In bytes. A connection receives at most this much at once, and parses it in slices: it stops when a request has to
# wait for a response in progress, because a parsed request is much larger than its bytes.
READ_SIZE = 16 * 1024
_SLICE = 1024
# In seconds: the time for a client to read the response to a request whose body it is still sending.
_LINGER_TIMEOUT = 2.0
# In seconds: the time for a TLS client to read the rest of a response and to send its close_notify.
_TLS_LINGER_TIMEOUT = 30.0
# In seconds: a client that has ended its side may be gone, so that nothing may wait for it any more (section 9.6).
_HALF_CLOSED_TIMEOUT = 5.0
_HIT = Outcome.HIT.value


class Application(Protocol):
    """Responds to requests."""

    def cached(self, request: Request, now: float) -> CachedResponse | None:
        """Return the cached response to a request, if there is one."""

    async def respond(self, request: Request) -> Response | BlobResponse:
        """Return the response to any request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server. Times are in seconds.

    `header_timeout` is from a request's first byte to its last header, `idle_timeout` from one request to the next.
    `connections` is the largest number of open connections.
    """

    header_timeout: float
    idle_timeout: float
    connections: int = 8192


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that all connections of a server share. All of them receive into the one `buffer`."""

    app: Application
    dates: Dates
    background: BackgroundTasks
    limits: Limits
    observer: Observer
    connections: OpenConnections
    buffer: memoryview


class Connection(asyncio.BufferedProtocol):
    """A client's connection. It feeds the parser, sends responses, and sets the deadline that the server enforces.

    `proxied_address` is the client's address if a load balancer has sent it.
    """

    def __init__(self, shared: Shared, proxied_address: Address | None = None) -> None:
        self._app = shared.app
        self._dates = shared.dates
        self._background = shared.background
        self._limits = shared.limits
        self._observer = shared.observer
        self._connections = shared.connections
        self._buffer = shared.buffer
        self._loop = asyncio.get_running_loop()
        self._proxied_address = proxied_address
        self._unparsed = b""
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._read_floor = ReadFloor(FOR_FILES)
        self._speed = ClientSpeed(self._loop.time)
        self._writable: asyncio.Future[None] | None = None
        self._closing = False
        self._ended = False
        # The time when the server may drop the connection, by the loop's clock; None while a response is in progress.
        self.deadline: float | None = self._loop.time() + self._limits.header_timeout

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            self.socket_connected(transport)
        self._client = _client(transport, self._proxied_address)
        self._reader = RequestReader(self._receive, self._client)
        self._connections.add(self)

    def socket_connected(self, transport: asyncio.Transport) -> None:
        """Set up the transport of the socket, which is below that of the connection if it has TLS."""
        self._socket_transport = transport
        transport.set_write_buffer_limits(high=0)  # the client has to read all before it gets more
        _send_at_once(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._closing = True
        self._drop_requests()
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()
        self._reader.close()
        self._connections.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (required by the interface)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing or self._ended:
            return
        data = self._buffer[:nbytes]
        if self._unparsed:
            self._unparsed += data
        elif nbytes <= _SLICE and not self._waiting:
            self._feed(data)
        else:
            self._parse(bytes(data))

    def eof_received(self) -> bool:
        """Handle the end of the requests. The client may wait for responses, or be gone: the next write shows which."""
        self._ended = True
        if self.deadline is None:
            self.deadline = self._loop.time() + _HALF_CLOSED_TIMEOUT
        # asyncio's TLS can't be half-closed.
        return (self._task is not None or bool(self._waiting)) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None
            self._start_waiting()

    # Interface for the server

    def finish(self) -> None:
        """Accept no further request. Complete the response in progress."""
        self._closing = True
        self._drop_requests()
        if self._task is None:
            self._transport.close()
            # TLS waits for the client's close_notify, which idle clients often do not send.
            self.deadline = self._loop.time() + _LINGER_TIMEOUT

    def abort(self) -> None:
        """Drop the connection now."""
        self._transport.abort()

    # Requests and responses

    def _parse(self, data: bytes) -> None:
        """Parse requests until one has to wait. Keep the rest, and receive no more."""
        for start in range(0, len(data), _SLICE):
            if self._waiting:
                self._unparsed = data[start:]
                self._transport.pause_reading()
                return
            self._feed(data[start : start + _SLICE])

    def _feed(self, data: bytes | memoryview) -> None:
        was_idle = self._reader.is_idle
        try:
            self._reader.feed(data)
        except RefusedRequestError as error:
            self._refuse(error)
            return
        if was_idle and not self._reader.is_idle and self.deadline is not None:
            self.deadline = self._loop.time() + self._limits.header_timeout

    def _receive(self, request: Request) -> None:
        if self._closing:
            return
        if self._task is None and self._writable is None and not self._waiting:
            self._start(request)
        else:
            self._waiting.append(request)

    def _start_waiting(self) -> None:
        """Start the waiting requests, until one must wait for a response in progress or for the client to read."""
        while self._task is None and self._writable is None:
            if self._waiting:
                self._start(self._waiting.popleft())
            elif self._unparsed and not self._closing:
                data, self._unparsed = self._unparsed, b""
                self._parse(data)
            else:
                break
        if self._waiting or self._unparsed or self._transport.is_closing():
            return
        if self._ended and self._task is None:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _drop_requests(self) -> None:
        self._waiting.clear()
        self._unparsed = b""

    def _start(self, request: Request) -> None:
        """Send the cached response, or start a task that responds."""
        now = self._dates.now()
        cached = self._app.cached(request, now) if request.keep_alive else None
        if cached is None or request.method not in {"GET", "HEAD"}:
            self.deadline = None
            self._task = self._background.spawn(self._respond(request), "response")
        else:
            self._send_cached(request, cached, now)

    def _send_cached(self, request: Request, cached: CachedResponse, now: float) -> None:
        """Send a response whose body is small."""
        head = cached.head + self._dates.end_of_head(now)
        body = b"" if request.method == "HEAD" else cached.body
        self._transport.write(head + body)
        self._observer.answered(cached.registry, _HIT, 200, len(body))
        self.deadline = self._loop.time() + self._limits.idle_timeout

    async def _respond(self, request: Request) -> None:
        self._read_floor = ReadFloor(FOR_FILES)
        try:
            response = await self._app.respond(request)
            if isinstance(response, BlobResponse):
                await self._send_blob(request, response)
            else:
                await self._send(request, response)
        except OSError as error:  # includes TimeoutError
            log.debug("client of %s disconnected: %r", request.target[:300], error)
            self._transport.abort()
        except Exception:
            self._transport.abort()
            raise
        finally:
            self._task = None
        self._next(request)

    def _next(self, finished: Request) -> None:
        if self._closing or not finished.keep_alive:
            self._hang_up()
            return
        limits = self._limits
        wait = limits.idle_timeout if self._reader.is_idle else limits.header_timeout
        self.deadline = self._loop.time() + wait
        self._start_waiting()

    def _hang_up(self) -> None:
        """Close the connection, but let a client that still sends a body read the response (RFC 9112, section 9.6)."""
        self._closing = True
        if self._transport.is_closing():
            return
        linger = _LINGER_TIMEOUT
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
            linger = _TLS_LINGER_TIMEOUT
        self.deadline = self._loop.time() + linger

    async def _send(self, request: Request, response: Response) -> None:
        length = (
            None
            if response.status == 304
            else len(response.body)
            if response.length is None
            else response.length
        )
        self.deadline = None
        if self._closing or response.close:
            request.keep_alive = False
        head = self._head(request, response, length)
        body = b"" if request.method == "HEAD" or response.status == 304 else response.body
        self._observer.answered(response.registry, response.result, response.status, len(body))
        if len(body) <= SMALL_BODY:
            self._transport.write(head + body)
        else:
            self._read_floor = ReadFloor(FOR_MEMORY)
            self._transport.write(head)
            await send_bytes(self._transport, body, self._drain, self._read_floor.accepted)
        await self._drain()

    async def _send_blob(self, request: Request, response: BlobResponse) -> None:
        self.deadline = None
        try:
            self._transport.write(self._head(request, response, response.stop - response.start))
            self._observer.answered(response.registry, response.result, response.status)
            sent = partial(self._sent, response.registry)
            writer = BodyWriter(self._transport, self._drain, self._stalled, sent, self._speed)
            await writer.send(response)
        except (RegistryError, DamagedFileError) as error:
            # The headers are sent: only a broken connection shows the client that the body is incomplete.
            log_aborted(request, response.registry, error)
            code = error.code if isinstance(error, RegistryError) else DAMAGED
            self._observer.answered(response.registry, code, 502)
            if isinstance(error, DamagedFileError):
                response.body.report_damage()
            self._transport.abort()
        finally:
            response.body.close()

    def _sent(self, registry: str | None, count: int) -> None:
        self._read_floor.accepted(count)
        self._observer.sent(registry, count)

    def _head(self, request: Request, response: Response | BlobResponse, length: int | None) -> bytes:
        reason = response.reason if isinstance(response, Response) else ""
        head = encode_head(
            response.status, response.headers, length, close=not request.keep_alive, reason=reason
        )
        return head + self._dates.end_of_head(self._dates.now())

    async def _stalled(self, progress: Awaitable[None]) -> None:
        """Wait for a client that accepts no bytes. The server drops it at the deadline."""
        begun = self._loop.time()
        self.deadline = begun + self._read_floor.left
        try:
            await progress
        finally:
            self.deadline = None
            self._read_floor.waited(self._loop.time() - begun)
            self._speed.resumed()

    async def _drain(self) -> None:
        if self._writable is not None:
            await self._stalled(asyncio.shield(self._writable))
        if self._transport.is_closing() or self._socket_transport.is_closing():
            raise ConnectionResetError("the client has disconnected")

    def _refuse(self, error: RefusedRequestError) -> None:
        """Report an invalid request and close the connection. Send no report behind other responses."""
        self._unparsed = b""
        log_malformed(self._client, error)
        if self._task is not None or self._waiting:
            self._ended = True
            return
        response = error_response(
            RegistryError(ErrorCode.REQUEST_INVALID, f"{error}; the request was rejected")
        )
        head = encode_head(
            response.status, response.headers, len(response.body), close=True, reason=response.reason
        )
        self._transport.write(head + self._dates.end_of_head(self._dates.now()) + response.body)
        self._observer.answered(None, response.result, response.status)
        self._hang_up()


def _send_at_once(transport: asyncio.Transport) -> None:
    """Disable Nagle's algorithm: a small piece would wait for the client's previous acknowledgement (40 ms).

    asyncio disables it only for sockets with a known protocol; that of an accepted socket is 0.
    """
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.family in {socket.AF_INET, socket.AF_INET6}:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _client(transport: asyncio.Transport, proxied_address: Address | None) -> Client:
    peer = transport.get_extra_info("peername")
    address = proxied_address or (parse_address(peer[0]) if peer else None)
    return Client(address, _certificate_names(transport.get_extra_info("peercert")))


def _certificate_names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the DNS names and the common name of a client certificate, given as by `ssl.SSLSocket.getpeercert`."""
    if not certificate:
        return ()
    alternative = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = [
        value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    ]
    return (*alternative, *common)
