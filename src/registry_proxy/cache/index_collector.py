"""Removal of index rows that nothing needs any more, so that the index keeps to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.locks import NamedLocks
    from registry_proxy.index.base import Index

_LOCK = "collect"


class IndexCollector:
    """Removal of links and tags of content that is gone, and that was not confirmed for `access_ttl` seconds."""

    def __init__(
        self, index: Index, locks: NamedLocks, access_ttl: float, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._locks = locks
        self._access_ttl = access_ttl
        self._clock = clock

    async def collect(self) -> None:
        """Remove them, one process at a time and step by step. Raise IndexFailedError."""
        async with self._locks.hold(_LOCK):
            before = self._clock() - self._access_ttl
            position: int | None = 0
            while position is not None:
                position = await self._index.collect(before, position)
