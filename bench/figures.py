"""The figures of a run, their medians, and their goals. No I/O."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS = "registry-proxy"
PEER = "docker-registry"
FLOOR = "nginx"
DIRECT = "direct"  # the upstream without a cache

_REQUESTS = {
    "manifest-tag-get": "manifest GET by tag",
    "manifest-tag-head": "manifest HEAD by tag",
    "manifest-digest-get": "manifest GET by digest",
    "manifest-digest-head": "manifest HEAD by digest",
}
_TLS_REQUESTS = {"tls-manifest-digest-get": "TLS, manifest GET by digest"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its key "measure.name", label, unit, and the format of its value."""

    key: str
    label: str
    unit: str
    format: str


FIGURES = (
    *(
        figure
        for key, label in (_REQUESTS | _TLS_REQUESTS).items()
        for figure in (
            Figure(f"{key}.processor", f"{label}: processor", "µs/request", ",.1f"),
            Figure(f"{key}.rate", f"{label}: rate", "requests/s", ",.0f"),
            Figure(f"{key}.p50", f"{label}: latency, median", "ms", ",.2f"),
            Figure(f"{key}.p99", f"{label}: latency, p99", "ms", ",.2f"),
        )
    ),
    Figure("warm.processor", "warm blob: processor", "s/GB", ".3f"),
    Figure("warm.wall", "warm blob: wall", "s", ".3f"),
    Figure("tls-warm.processor", "TLS, warm blob: processor", "s/GB", ".3f"),
    Figure("tls-warm.wall", "TLS, warm blob: wall", "s", ".3f"),
    Figure("cold.wall", "cold blob: wall", "s", ".3f"),
    Figure("cold.processor", "cold blob: processor", "s/GB", ".3f"),
    Figure("cold.transfers", "cold blob: upstream transfers", "", ".0f"),
    Figure("fanout.wall", "cold blob, many clients: wall of the slowest", "s", ".3f"),
    Figure("fanout.processor", "cold blob, many clients: processor", "s/GB", ".3f"),
    Figure("fanout.transfers", "cold blob, many clients: upstream transfers", "", ".0f"),
    Figure("tls-memory.idle", "TLS, memory, idle: largest process, RSS", "MiB", ".1f"),
    Figure("tls-memory.idle_pss", "TLS, memory, idle: whole server, PSS", "MiB", ".1f"),
    Figure("tls-memory.peak", "TLS, memory, peak: largest process, RSS", "MiB", ".1f"),
    Figure("memory.idle", "memory, idle: largest process, RSS", "MiB", ".1f"),
    Figure("memory.idle_pss", "memory, idle: whole server, PSS", "MiB", ".1f"),
    Figure("memory.peak", "memory, peak in all of this: largest process, RSS", "MiB", ".1f"),
)


@dataclass(slots=True)
class Results:
    """The values by server, figure and round.

    `others_share` is the share of the machine's processor time that other programs used, 0 to 1.
    """

    others_share: float = 0.0
    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, server: str, measure: str, values: Mapping[str, float]) -> None:
        """Add the values of one measure in one round, by name."""
        for name, value in values.items():
            self.samples[server][f"{measure}.{name}"].append(value)

    def value(self, server: str, key: str) -> float | None:
        """Return the median of the rounds, None if nothing was measured."""
        samples = self.samples.get(server, {}).get(key)
        return median(samples) if samples else None

    def ratio(self, server: str, key: str, base_server: str, base_key: str) -> float | None:
        """Return one figure divided by another, None if either was not measured."""
        value, base = self.value(server, key), self.value(base_server, base_key)
        return value / base if value is not None and base else None


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for our figure `key`: absolute, or as a multiple of the figure `base_key` of the server `base`.

    An aim is reported like a goal, but missing it does not fail the run.
    """

    key: str
    limit: float
    base: str = ""
    base_key: str = ""
    is_aim: bool = False

    def measured(self, results: Results) -> float | None:
        """Return the value to compare with the limit, None if it was not measured."""
        if not self.base:
            return results.value(OURS, self.key)
        return results.ratio(OURS, self.key, self.base, self.base_key or self.key)

    def met(self, results: Results) -> bool | None:
        """Return whether the goal is met, None if a figure was not measured."""
        measured = self.measured(results)
        return None if measured is None else measured <= self.limit


GOALS = (
    *(Goal(f"{key}.processor", 1 / 25, PEER) for key in _REQUESTS),
    *(Goal(f"{key}.processor", 2, FLOOR, is_aim=True) for key in _REQUESTS),
    *(Goal(f"{key}.p99", 1 / 10, PEER) for key in _REQUESTS),
    Goal("warm.processor", 1, PEER),
    Goal("warm.processor", 1.5, FLOOR),
    Goal("tls-warm.processor", 1, PEER),
    *(Goal(f"{key}.processor", 1 / 10, PEER) for key in _TLS_REQUESTS),
    Goal("cold.wall", 1.05, DIRECT),
    Goal("cold.processor", 1 / 2, PEER),
    Goal("fanout.transfers", 1),
    Goal("fanout.wall", 1.3, OURS, "cold.wall"),
    Goal("memory.idle", 60),
    Goal("memory.peak", 150),
    Goal("tls-memory.peak", 150),
)


def missed(results: Results) -> list[Goal]:
    """Return the goals, except aims, that were measured and not met."""
    return [goal for goal in GOALS if not goal.is_aim and goal.met(results) is False]
