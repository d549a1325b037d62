"""What happened: requests, failures with an excuse, and losses, which have none."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A failure is excused this long after its cause has ended: what was under way then may end with it. Seconds.
_AFTERMATH = 2.0
OUTAGE = "outage"
# The losses after these are counted, and not told.
_TOLD = 50


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that must not happen; `at` is seconds since the begin."""

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
    peak_store: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many losses there are."""
        return self.kinds.total()

    @property
    def seconds(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self.begun

    def lose(self, kind: str, text: str) -> None:
        """Something happened that must not."""
        self.kinds[kind] += 1
        if len(self.losses) < _TOLD:
            self.losses.append(Loss(round(self.seconds, 1), kind, text))

    def summary(self) -> dict[str, object]:
        """All of it, for JSON."""
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
            "losses_told": [{"at": loss.at, "kind": loss.kind, "text": loss.text} for loss in self.losses],
        }


class Weather:
    """What is going wrong on purpose just now: only while something is may a request fail."""

    def __init__(self) -> None:
        self._troubles: Counter[str] = Counter()
        self._calm_since = 0.0
        self._cached: frozenset[str] = frozenset()
        self._cached_since = 0.0
        self._told_to_end = 0.0

    @contextmanager
    def trouble(self, name: str) -> Iterator[None]:
        """For the block, and a moment longer, failures are excused by `name`."""
        self._troubles[name] += 1
        try:
            yield
        finally:
            self._troubles[name] -= 1
            self._calm_since = time.monotonic() + _AFTERMATH

    @property
    def troubles(self) -> set[str]:
        """What is going wrong."""
        return set(+self._troubles)

    def excuses(self, since: float) -> bool:
        """Whether there was trouble at any time from `since` to now."""
        return bool(self.troubles) or self._calm_since > since

    @contextmanager
    def all_cached(self, names: Iterable[str]) -> Iterator[None]:
        """For the block all registries are away, but the repositories `names` are cached, and so must be served."""
        self._cached, self._cached_since = frozenset(names), time.monotonic()
        try:
            yield
        finally:
            self._cached = frozenset()

    def must_serve(self, name: str, since: float) -> bool:
        """Whether a request for this repository that began at `since` has no excuse but the outage, which is none."""
        return name in self._cached and since > self._cached_since and self.troubles == {OUTAGE}

    @contextmanager
    def ordered_end(self) -> Iterator[None]:
        """For the block the server ends in order: answers that have begun before it must be completed."""
        self._told_to_end = time.monotonic()
        try:
            with self.trouble("ordered end"):
                yield
        finally:
            self._told_to_end = 0.0

    def must_complete(self, answered_at: float) -> bool:
        """Whether an answer that began at `answered_at` has no excuse to break off."""
        was_calm = self._calm_since < answered_at < self._told_to_end
        return was_calm and self.troubles == {"ordered end"}
