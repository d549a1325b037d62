"""Access times of content, kept in memory and written to the index at intervals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.index.base import Index
    from registry_proxy.oci.reference import Digest

log = logging.getLogger(__name__)


class AccessTimes:
    """Access times since the last flush. A crash loses at most 30 s of them, and no content."""

    def __init__(self, index: Index, clock: Callable[[], float]) -> None:
        self._index = index
        self._clock = clock
        self._recent: dict[Digest, float] = {}

    def touch(self, digest: Digest) -> None:
        """Record an access now."""
        self._recent[digest] = self._clock()

    async def flush(self) -> None:
        """Write the recorded times to the index. Log an index that fails."""
        times, self._recent = self._recent, {}
        if not times:
            return
        try:
            await self._index.touch(times)
        except IndexFailedError as error:
            log.warning("access times not written, eviction may remove recently used content: %s", error)
