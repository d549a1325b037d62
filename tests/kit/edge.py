"""The one HTTP handler of every simulated server: it logs, applies the armed faults, and sends."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from tests.kit.faults import (
    Answer,
    Armed,
    Body,
    Break,
    Corrupt,
    Fault,
    FaultBook,
    Hang,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Tamper,
    WrongLength,
)
from tests.kit.wire import Call, Reply, Role, Target, error, redirect, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.journal import Journal, Request

_PIECE = 1 << 18
_LINGER_NOT = struct.pack("ii", 1, 0)  # close() then sends a reset


@dataclass(slots=True)
class Pace:
    """A limit on each body's speed in bytes a second; 0 is none."""

    bytes_per_second: float = 0

    @property
    def piece(self) -> int:
        """How much to send at once: a hundredth of a second's worth, within reason."""
        return (
            _PIECE if not self.bytes_per_second else max(1024, min(_PIECE, int(self.bytes_per_second / 100)))
        )


class Stop(NamedTuple):
    """Something that happens once `at` bytes of the body are sent."""

    at: int
    fault: Break | Stall
    armed: Armed


@dataclass(slots=True)
class Edge:
    """Serves one role of an upstream."""

    role: Role
    locate: Callable[[Call], Target]
    answer: Callable[[Call, Target], Reply]
    journal: Journal
    faults: FaultBook
    pace: Pace

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        call = Call(request.method, request.path, request.query, request.headers)
        target = self.locate(call)
        entry = self.journal.begin(self.role, call, target)
        armed = self.faults.take(call.method, target)
        try:
            if any(isinstance(fault, Reset) for _, fault in _each(armed)):
                return _reset(request)
            await _hang(armed)
            made = _instead(call, armed) or self.answer(_without_range(call, armed), target)
            return await self._send(request, made, entry, armed)
        finally:
            entry.finished = True
            self.journal.changed()

    async def _send(
        self, request: web.BaseRequest, made: Reply, entry: Request, armed: list[Armed]
    ) -> web.StreamResponse:
        length = _apply(made, armed)
        response = web.StreamResponse(status=made.status, headers=made.headers)
        if length is not None:
            response.content_length = length
        if length not in (None, len(made.body)):
            response.force_close()
        _send_through(request.transport)
        writer = await response.prepare(request)
        assert writer is not None
        entry.status = made.status
        self.journal.changed()
        if request.method == "HEAD" or made.status in (204, 304):
            return response
        started = asyncio.get_running_loop().time()
        for piece, stop in _pieces(memoryview(made.body), _stops(armed), self.pace.piece):
            await response.write(piece)
            await writer.drain()
            entry.sent += len(piece)
            self.journal.changed()
            if stop is not None and await _halt(request, stop):
                return response
            await self._keep_pace(entry.sent, started)
        return response

    async def _keep_pace(self, sent: int, started: float) -> None:
        if self.pace.bytes_per_second:
            due = started + sent / self.pace.bytes_per_second
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))


def _each(armed: list[Armed]) -> Iterator[tuple[Armed, Fault]]:
    return ((each, fault) for each in armed for fault in each.faults)


async def _hang(armed: list[Armed]) -> None:
    for each, fault in _each(armed):
        if isinstance(fault, Hang):
            await each.hold()


def _instead(call: Call, armed: list[Armed]) -> Reply | None:
    for _, fault in _each(armed):
        match fault:
            case Answer():
                made = (
                    error(fault.status, fault.code, fault.message)
                    if fault.code
                    else reply(fault.status, fault.body)
                )
                made.headers.update(fault.headers)
                return made
            case Redirect():
                return redirect(fault.status, fault.location or call.path)
    return None


def _without_range(call: Call, armed: list[Armed]) -> Call:
    if not any(isinstance(fault, IgnoreRange) for _, fault in _each(armed)):
        return call
    kept = {name: value for name, value in call.headers.items() if name.lower() != "range"}
    return Call(call.method, call.path, call.query, kept)


def _apply(made: Reply, armed: list[Armed]) -> int | None:
    """Change a reply as the faults say; return the Content-Length to announce, None for none."""
    off, announced = 0, made.announced
    for _, fault in _each(armed):
        match fault:
            case Tamper():
                made.status = fault.status or made.status
                made.headers.update(fault.headers)
                for name in fault.remove:
                    made.headers.pop(name, None)
                announced = announced and "content-length" not in map(str.lower, fault.remove)
            case Body():
                made.body = fault.raw
            case Corrupt():
                changed = bytearray(made.body)
                changed[fault.at] ^= 0xFF
                made.body = bytes(changed)
            case WrongLength():
                off += fault.by
    return len(made.body) + off if announced else None


def _stops(armed: list[Armed]) -> list[Stop]:
    found = [
        Stop(fault.after, fault, each) for each, fault in _each(armed) if isinstance(fault, Break | Stall)
    ]
    return sorted(found, key=lambda stop: stop.at)


def _pieces(body: memoryview, stops: list[Stop], size: int) -> Iterator[tuple[memoryview, Stop | None]]:
    """Cut `body` into pieces of at most `size`, and at every stop."""
    at = 0
    for stop in [*stops, None]:
        end = len(body) if stop is None else min(stop.at, len(body))
        while end - at > size:
            yield body[at : at + size], None
            at += size
        if stop is not None or end > at:
            yield body[at:end], stop
        at = end


async def _halt(request: web.BaseRequest, stop: Stop) -> bool:
    """Do what happens at a stop; return whether that was the end."""
    if isinstance(stop.fault, Stall):
        await stop.armed.hold()
        return False
    if request.transport is not None and request.secure:
        request.transport.close()  # below TLS there is one more buffer, and only this sends it
    elif request.transport is not None:
        request.transport.abort()
    return True


def _send_through(transport: asyncio.Transport | None) -> None:
    """Let drain() wait until the kernel has every byte, so that what counts as sent is sent."""
    if transport is not None:
        # asyncio's TLS pauses at this mark (and would for ever at 0), its plain transport above it
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0)


def _reset(request: web.BaseRequest) -> web.Response:
    assert request.transport is not None
    raw: socket.socket = request.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    request.transport.abort()
    return web.Response()
