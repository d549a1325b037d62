"""Faults that a test arms, and the book that hands them to the requests they are meant for.

A fault is a value; several armed together act on one request. Which requests: by kind (see `wire.Kind`),
and optionally by method, repository and reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.kit.wire import Kind, Target


class Hang(msgspec.Struct, frozen=True, tag=True):
    """No answer, not even headers, until released."""


class Reset(msgspec.Struct, frozen=True, tag=True):
    """A TCP reset instead of an answer."""


class Answer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Another answer: with `code` a registry error document, else `body` as it is."""

    status: int
    code: str = ""
    message: str = ""
    body: bytes = b""
    headers: dict[str, str] = {}


class Redirect(msgspec.Struct, frozen=True, tag=True):
    """A redirect to `location`; an empty one leads back to the same address, for ever."""

    location: str = ""
    status: int = 307


class Tamper(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Headers set, replaced or taken away, or another status; a name in `remove` is not sent at all."""

    headers: dict[str, str] = {}
    remove: tuple[str, ...] = ()
    status: int = 0


class Body(msgspec.Struct, frozen=True, tag=True):
    """Another body under the same status and headers; the length follows."""

    raw: bytes


class Corrupt(msgspec.Struct, frozen=True, tag=True):
    """One byte flipped at `at`; negative counts from the end."""

    at: int = 0


class WrongLength(msgspec.Struct, frozen=True, tag=True):
    """A Content-Length that is `by` bytes off."""

    by: int


class IgnoreRange(msgspec.Struct, frozen=True, tag=True):
    """The whole content with status 200, as if no Range had been sent."""


class Break(msgspec.Struct, frozen=True, tag=True):
    """The connection ends after `after` bytes of this answer's body."""

    after: int = 0


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Nothing more after `after` bytes of this answer's body, until released."""

    after: int = 0


Fault = Hang | Reset | Answer | Redirect | Tamper | Body | Corrupt | WrongLength | IgnoreRange | Break | Stall


def too_many_requests(retry_after: str | int | None = None, *, plain: bool = False) -> Answer:
    """Return a 429; `retry_after` is seconds or an HTTP date; `plain` is Docker Hub's abuse limit in text."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if plain:
        return Answer(status=429, body=b"Too Many Requests (HAP429).\n", headers=headers)
    return Answer(
        status=429, code="TOOMANYREQUESTS", message="You have reached your pull rate limit.", headers=headers
    )


def account_limit(retry_after: int | None = None) -> Answer:
    """Return Docker Hub's 429 when the pulls of the account or the address are used up."""
    limit = too_many_requests(retry_after)
    quota = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    return Answer(status=429, code=limit.code, message=limit.message, headers=limit.headers | quota)


@dataclass(slots=True, eq=False)
class Armed:
    """Faults in wait. `reached` is set when a request arrives at a Hang or Stall, which `release()` ends."""

    number: int
    kind: Kind
    faults: tuple[Fault, ...]
    method: str | None = None
    repository: str | None = None
    reference: str | None = None
    left: int | None = 1  # None: for every request
    hits: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let every request that this holds go on."""
        self.released.set()

    def disarm(self) -> None:
        """Let go, and act on nothing more."""
        self.left = 0
        self.release()

    async def hold(self) -> None:
        """Hold the calling request until released."""
        self.reached.set()
        await self.released.wait()

    def matches(self, method: str, target: Target) -> bool:
        """Tell whether a request is one of those that this waits for."""
        wanted = (self.method, self.repository, self.reference)
        actual = (method, target.repository, target.reference)
        return (
            self.left != 0
            and self.kind == target.kind
            and all(want in (None, have) for want, have in zip(wanted, actual, strict=True))
        )


class FaultBook:
    """Every armed fault of one upstream. A request consumes the first arming that matches, and every gate."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []
        self._gates: list[Armed] = []
        self._numbers = itertools.count(1)

    def arm(
        self,
        kind: Kind,
        *faults: Fault,
        method: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        times: int | None = 1,
    ) -> Armed:
        """Arm `faults` together for the next `times` matching requests (`None`: for all of them)."""
        armed = Armed(next(self._numbers), kind, faults, method, repository, reference, times)
        self._armed.append(armed)
        return armed

    def shut_gate(
        self, kind: Kind, *, after: int = 0, method: str | None = None, reference: str | None = None
    ) -> Armed:
        """Hold every matching transfer at `after` bytes until `disarm()`."""
        gate = Armed(next(self._numbers), kind, (Stall(after),), method, reference=reference, left=None)
        self._gates.append(gate)
        return gate

    @contextlib.asynccontextmanager
    async def gate(
        self, kind: Kind, *, after: int = 0, method: str | None = None, reference: str | None = None
    ) -> AsyncIterator[Armed]:
        """Hold every matching transfer at `after` bytes; leaving the block, or `release()`, lets them go."""
        gate = self.shut_gate(kind, after=after, method=method, reference=reference)
        try:
            yield gate
        finally:
            gate.disarm()

    def take(self, method: str, target: Target) -> list[Armed]:
        """Return what acts on this request, and use it up."""
        first = next((each for each in self._armed if each.matches(method, target)), None)
        taken = [each for each in self._gates if each.matches(method, target)]
        if first is not None:
            first.left = first.left if first.left is None else first.left - 1
            taken.append(first)
        for each in taken:
            each.hits += 1
        return taken

    def find(self, number: int) -> Armed:
        """Return an arming by its number. Raises KeyError."""
        return {each.number: each for each in self._all()}[number]

    def clear(self) -> None:
        """Disarm everything, and let go whatever is held."""
        for each in self._all():
            each.disarm()

    def _all(self) -> Iterator[Armed]:
        yield from (*self._armed, *self._gates)
