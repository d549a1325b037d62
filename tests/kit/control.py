"""Commands by which a test controls upstreams in another process, over a Unix socket.

A Unix socket is reachable from outside a network namespace. One connection carries one command: the
client writes it and closes its side, the server answers and closes.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import msgspec
from tests.kit.faults import Fault
from tests.kit.images import Content
from tests.kit.waiting import TIMEOUT
from tests.kit.wire import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kit.upstream import SimulatedUpstream


class Push(msgspec.Struct, tag=True):
    """Store manifests and blobs, and point tags at a digest."""

    repository: str
    manifests: tuple[Content, ...]
    blobs: tuple[Content, ...]
    tags: tuple[str, ...]
    digest: str


class Admit(msgspec.Struct, tag=True):
    """Add a user; with a repository, make it private to the users named so far in this way."""

    user: str
    password: str
    repository: str = ""


class KillTokens(msgspec.Struct, tag=True):
    """Let every token issued so far die."""

    status: int = 401
    challenge: bool = True


class Arm(msgspec.Struct, tag=True):
    """Arm faults. The result is their number."""

    kind: Kind
    faults: tuple[Fault, ...]
    method: str | None = None
    repository: str | None = None
    reference: str | None = None
    times: int | None = 1


class Gate(msgspec.Struct, tag=True):
    """Hold transfers. The result is the gate's number."""

    kind: Kind
    after: int
    method: str | None = None
    reference: str | None = None


class Release(msgspec.Struct, tag=True):
    """Let go what is held, and disarm."""

    number: int


class Reached(msgspec.Struct, tag=True):
    """Wait until a request arrives at a Hang or Stall."""

    number: int
    seconds: float = TIMEOUT


class Wait(msgspec.Struct, tag=True):
    """Wait until so many requests of a kind have arrived, or sent so many bytes together."""

    method: str | None
    kind: Kind | None
    reference: str | None
    requests: int = 1
    sent: int = 0
    seconds: float = TIMEOUT


class Pace(msgspec.Struct, tag=True):
    """Limit the speed of each body; 0 is no limit."""

    bytes_per_second: float


class Clear(msgspec.Struct, tag=True):
    """Disarm all faults and forget the log."""


class Requests(msgspec.Struct, tag=True):
    """Ask for the log."""


class Start(msgspec.Struct, tag=True):
    """Listen again."""


class Stop(msgspec.Struct, tag=True):
    """Cut all connections and refuse new ones."""


class Address(msgspec.Struct, tag=True):
    """Ask for the registry's base address."""


Command = (
    Push
    | Admit
    | KillTokens
    | Arm
    | Gate
    | Release
    | Reached
    | Wait
    | Pace
    | Clear
    | Requests
    | Start
    | Stop
    | Address
)


class Order(msgspec.Struct):
    """A command and the upstream that it is for."""

    upstream: str
    command: Command


class Outcome(msgspec.Struct):
    """A command's result, or what went wrong."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")  # msgpack's nil
    problem: str = ""


async def serve(upstreams: Mapping[str, SimulatedUpstream], path: str) -> asyncio.Server:
    """Listen for commands on a Unix socket."""
    return await asyncio.start_unix_server(functools.partial(_connection, upstreams), path)


async def _connection(
    upstreams: Mapping[str, SimulatedUpstream], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        order = msgspec.msgpack.decode(await reader.read(), type=Order)
        result = await obey(upstreams[order.upstream], order.command)
        outcome = Outcome(msgspec.Raw(msgspec.msgpack.encode(result)))
    except (KeyError, OSError, msgspec.DecodeError) as problem:  # TimeoutError is an OSError
        outcome = Outcome(problem=f"{type(problem).__name__}: {problem}")
    writer.write(msgspec.msgpack.encode(outcome))
    writer.close()
    await writer.wait_closed()


async def obey(upstream: SimulatedUpstream, command: Command) -> object:
    """Do what a command says."""
    match command:
        case Start():
            await upstream.start()
        case Stop():
            await upstream.stop()
        case Reached(number, seconds):
            async with asyncio.timeout(seconds):
                await upstream.faults.find(number).reached.wait()
        case Wait():
            await upstream.until(lambda: _arrived(upstream, command), seconds=command.seconds)
        case Address():
            return upstream.url
        case Requests():
            return upstream.requests
        case Arm(kind, faults, method, repository, reference, times):
            return upstream.arm(
                kind, *faults, method=method, repository=repository, reference=reference, times=times
            ).number
        case Gate(kind, after, method, reference):
            return upstream.faults.shut_gate(kind, after=after, method=method, reference=reference).number
        case _:
            _change(upstream, command)
    return None


def _change(upstream: SimulatedUpstream, command: Push | Admit | KillTokens | Release | Pace | Clear) -> None:
    match command:
        case Push(name, manifests, blobs, tags, digest):
            repository = upstream.contents.repository(name)
            repository.manifests |= {each.digest: each for each in manifests}
            repository.blobs |= {each.digest: each for each in blobs}
            repository.tags |= dict.fromkeys(tags, digest)
        case Admit(user, password, name):
            upstream.add_user(user, password)
            if name:
                readers = upstream.contents.repository(name).readers or ()
                upstream.make_private(name, *readers, user)
        case KillTokens(status, challenge):
            upstream.kill_tokens(status=status, challenge=challenge)
        case Release(number):
            upstream.faults.find(number).disarm()
        case Pace(speed):
            upstream.pace.bytes_per_second = speed
        case Clear():
            upstream.faults.clear()
            upstream.requests.clear()


def _arrived(upstream: SimulatedUpstream, wanted: Wait) -> bool:
    found = upstream.journal.select(wanted.method, wanted.kind, wanted.reference)
    return len(found) >= wanted.requests and sum(each.sent for each in found) >= wanted.sent
