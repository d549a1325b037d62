"""The ledger of a soak: requests, failures that a fault excuses, and losses without an excuse."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Time after the end of a fault in which failures are still excused, for the requests in progress. Seconds.
_AFTERMATH = 2.0
OUTAGE = "outage"
# The number of losses that are reported. Further ones are only counted.
_REPORTED = 50


@dataclass(frozen=True, slots=True)
class Loss:
    """An event that must not happen. `at` is the time since the start of the soak, in seconds."""

    at: float
    kind: str
    text: str


@dataclass(slots=True)
class Ledger:
    """The counts of one soak."""

    begun: float = field(default_factory=time.monotonic)
    requests: int = 0
    bytes: int = 0
    peak_memory: int = 0  # of one worker, in bytes
    peak_store: int = 0  # in bytes
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """The number of losses."""
        return self.kinds.total()

    @property
    def seconds(self) -> float:
        """The time since the start, in seconds."""
        return time.monotonic() - self.begun

    def lose(self, kind: str, text: str) -> None:
        """Record an event that must not happen."""
        self.kinds[kind] += 1
        if len(self.losses) < _REPORTED:
            self.losses.append(Loss(round(self.seconds, 1), kind, text))

    def summary(self) -> dict[str, object]:
        """Return the ledger for JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "requests": self.requests,
            "bytes": self.bytes,
            "peak_worker_memory": self.peak_memory,
            "peak_store": self.peak_store,
            "outcomes": dict(self.outcomes),
            "faults": dict(self.faults),
            "failures_allowed": dict(self.excused),
            "losses": dict(self.kinds),
            "losses_reported": [
                {"at": loss.at, "kind": loss.kind, "text": loss.text} for loss in self.losses
            ],
        }


class ActiveFaults:
    """The faults that are active. A request may fail only during a fault."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._calm_since = 0.0
        self._cached: frozenset[str] = frozenset()
        self._cached_since = 0.0
        self._stopping_since = 0.0
        self._crashed_until = 0.0

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Excuse failures by the fault `name`, for the block and the 2 s after it."""
        self._counts[name] += 1
        try:
            yield
        finally:
            self._counts[name] -= 1
            self._calm_since = time.monotonic() + _AFTERMATH
            if name != OUTAGE:
                self._crashed_until = time.monotonic()

    @property
    def names(self) -> set[str]:
        """The names of the active faults."""
        return set(+self._counts)

    def excuses(self, since: float) -> bool:
        """Return whether a fault was active at any time from `since` to now."""
        return bool(self.names) or self._calm_since > since

    @contextmanager
    def all_cached(self, names: Iterable[str]) -> Iterator[None]:
        """Require, for the block, that the cached repositories `names` are served although all registries are down."""
        self._cached, self._cached_since = frozenset(names), time.monotonic()
        try:
            yield
        finally:
            self._cached = frozenset()

    def must_serve(self, name: str, since: float) -> bool:
        """Return whether a request for this repository, started at `since`, must succeed in spite of the outage."""
        is_undisturbed = since > max(self._cached_since, self._crashed_until) and self.names == {OUTAGE}
        return name in self._cached and is_undisturbed

    @contextmanager
    def graceful_stop(self) -> Iterator[None]:
        """Require, while the server stops gracefully in the block, that responses in progress are completed."""
        self._stopping_since = time.monotonic()
        try:
            with self.fault("graceful stop"):
                yield
        finally:
            self._stopping_since = 0.0

    def must_complete(self, responded_at: float) -> bool:
        """Return whether a response that started at `responded_at` must be completed."""
        was_calm = self._calm_since < responded_at < self._stopping_since
        return was_calm and self.names == {"graceful stop"}
