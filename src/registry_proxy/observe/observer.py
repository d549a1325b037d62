"""What happens in a worker, as the parts of it report it."""

from __future__ import annotations

from typing import Protocol

# The result of a response that neither the cache nor an upstream made, such as that to `GET /v2/`.
LOCAL = "local"


class Observer(Protocol):
    """Sees every response and every byte. Its methods take less than a microsecond and never raise.

    `registry` is a registry's name in image references; None if the request was answered before it was known.
    """

    def answered(self, registry: str | None, result: str, status: int, size: int = 0) -> None:
        """A response is sent. `result` is an `Outcome`'s value, an error code, or LOCAL; `status` is the HTTP status.

        `size` counts the bytes of the body that are sent with it; those of a blob follow by `sent`.
        """
        ...

    def sent(self, registry: str | None, size: int) -> None:
        """A client was sent `size` bytes of a blob."""
        ...

    def fetched(self, registry: str, size: int) -> None:
        """An upstream sent `size` bytes of a body."""
        ...
