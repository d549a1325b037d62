"""Access times of content, kept in memory and written to the index at intervals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.index.base import Index
    from registry_proxy.oci.digest import Digest

log = logging.getLogger(__name__)


class AccessTimes:
    """What was used since the last flush. A crash loses half a minute of recency, and no content."""

    def __init__(self, index: Index, clock: Callable[[], float]) -> None:
        self._index = index
        self._clock = clock
        self._noted: dict[Digest, float] = {}

    def touch(self, digest: Digest) -> None:
        """It was used now."""
        self._noted[digest] = self._clock()

    async def flush(self) -> None:
        """Write what was noted."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._index.touch(noted)
        except IndexFailedError as error:
            log.warning("access times were not written, eviction may choose worse: %s", error)
