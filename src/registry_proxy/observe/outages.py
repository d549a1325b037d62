"""The registries that fail, as far as one worker has seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A single failure may concern one repository. After so many in a row, of any repositories, the registry is failing.
FAILURES = 3
# In seconds: smaller changes of the next attempt are ignored. Otherwise every failed request would be a write.
_STEP = 1.0


@dataclass(frozen=True, slots=True)
class Failing:
    """A registry that fails since `since`. The next request to it is due at `retry_at`. Both are Unix seconds."""

    since: float
    retry_at: float
    cause: str


class Outages:
    """Recorder of failed and successful requests, by registry. `changed` is set by every change of `failing`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: Counter[str] = Counter()
        self._responding: set[str] = set()
        self.failing: dict[str, Failing] = {}
        self.changed = asyncio.Event()

    def failed(self, registry: str, cause: str, pause: float, *, concerns_all: bool = False) -> None:
        """Record a failed request. The next one is due in `pause` seconds.

        `concerns_all`: the registry fails for all repositories.
        """
        now = self._clock()
        self._responding.discard(registry)
        self._failures[registry] += 1
        if not concerns_all and self._failures[registry] < FAILURES:
            return
        known = self.failing.get(registry)
        if known is None or abs(known.retry_at - now - pause) >= _STEP:
            self.failing[registry] = Failing(known.since if known else now, now + pause, cause)
            self.changed.set()

    def succeeded(self, registry: str) -> None:
        """Record that the registry responded as it should."""
        self._responding.add(registry)
        del self._failures[registry]
        if self.failing.pop(registry, None) is not None:
            self.changed.set()

    def take_responding(self) -> set[str]:
        """Return the registries that have responded since the last call, and have not failed since then."""
        taken, self._responding = self._responding, set()
        return taken
