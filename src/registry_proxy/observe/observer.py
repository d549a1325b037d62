"""The interface through which a worker's parts report their traffic."""

from __future__ import annotations

from typing import Protocol

# The result of a response that comes neither from the cache nor from an upstream, such as that to `GET /v2/`.
LOCAL = "local"


class Observer(Protocol):
    """Observer of every response and every byte. Its methods take less than a microsecond and never raise.

    `registry` is a registry's name in image references; None if it was not known when the response was sent.
    """

    def answered(self, registry: str | None, result: str, status: int, size: int = 0) -> None:
        """Report a response. `result` is an `Outcome`'s value, an error code, or LOCAL; `status` is the HTTP status.

        `size` is the number of body bytes sent with it; `sent` reports those of a blob.
        """
        ...

    def sent(self, registry: str | None, size: int) -> None:
        """Report that a client was sent `size` bytes of a blob."""
        ...

    def fetched(self, registry: str, size: int) -> None:
        """Report that an upstream sent `size` bytes of a body."""
        ...
