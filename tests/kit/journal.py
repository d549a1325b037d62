"""The log of every request an upstream received."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
from tests.kit.waiting import TIMEOUT
from tests.kit.wire import Kind, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.kit.wire import Call, Target


class Request(msgspec.Struct, eq=False):
    """One request. `status` is 0 before the answer begins; `sent` counts the body's bytes."""

    role: Role
    kind: Kind
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    repository: str
    reference: str
    status: int = 0
    sent: int = 0
    finished: bool = False

    @property
    def is_transfer(self) -> bool:
        """Return whether this sent bytes of the content, not of an error's text, and was no probe for one byte."""
        is_probe = self.headers.get("Range") == "bytes=0-0"
        return self.sent > 0 and self.status in (200, 206) and not is_probe

    def __str__(self) -> str:
        """Return a line for a failing test's output."""
        where = f"{self.path}?{'&'.join(self.query)}" if self.query else self.path
        return f"{self.role}: {self.method} {where} [{self.kind}] -> {self.status}, {self.sent} bytes"


class Journal:
    """Requests in the order of their arrival, and a way to wait for them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._waiting: set[asyncio.Event] = set()

    def begin(self, role: Role, call: Call, target: Target) -> Request:
        """Record the arrival of a request."""
        query, headers = dict(call.query), dict(call.headers)
        entry = Request(
            role, target.kind, call.method, call.path, query, headers, target.repository, target.reference
        )
        self.requests.append(entry)
        self.changed()
        return entry

    def changed(self) -> None:
        """Wake whoever waits: an entry is new or has changed."""
        for event in self._waiting:
            event.set()

    def select(
        self,
        method: str | None = None,
        kind: Kind | None = None,
        reference: str | None = None,
        *,
        role: Role | None = None,
        status: int | None = None,
    ) -> list[Request]:
        """Return the requests that have everything given."""
        return agreeing(self.requests, method, kind, reference, role=role, status=status)

    async def until(self, condition: Callable[[], bool], *, seconds: float = TIMEOUT) -> None:
        """Wait until `condition()` holds; it is asked again at every change.

        Raises TimeoutError, with the log in its text, when it does not hold in time.
        """
        event = asyncio.Event()
        self._waiting.add(event)
        with contextlib.ExitStack() as stack:
            stack.callback(self._waiting.discard, event)
            try:
                async with asyncio.timeout(seconds):
                    while not condition():
                        event.clear()
                        await event.wait()
            except TimeoutError:
                log = "\n".join(map(str, self.requests))
                raise TimeoutError(f"not so within {seconds} s; requests were:\n{log}") from None


def agreeing(
    requests: Iterable[Request],
    method: str | None = None,
    kind: Kind | None = None,
    reference: str | None = None,
    *,
    role: Role | None = None,
    status: int | None = None,
) -> list[Request]:
    """Return those of `requests` that have everything given."""
    wanted = (method, kind, reference, role, status)
    return [each for each in requests if _agrees(each, wanted)]


def _agrees(entry: Request, wanted: tuple[object, ...]) -> bool:
    actual = (entry.method, entry.kind, entry.reference, entry.role, entry.status)
    return all(want in (None, have) for want, have in zip(wanted, actual, strict=True))
