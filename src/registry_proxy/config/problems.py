"""Problems of a configuration. Messages never contain a secret."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its origin (a file or an environment variable), its key, what is wrong, and how to fix it."""

    origin: str
    key: str | None
    text: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.origin}: {self.key}" if self.key else self.origin
        return f"{place}: {self.text}. {self.remedy}"


def dotted(key: Iterable[str]) -> str:
    """Return a key as TOML writes it: `upstreams.corp.paths."acme/private".username`."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in key)


class ConfigError(Exception):
    """The configuration can't be used. `problems` has all its problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def suggest(wrong: str, known: Iterable[str], otherwise: str, *, prefix: str = "") -> str:
    """Return the remedy for a misspelt name: the most similar known one, or `otherwise`. Names begin with `prefix`."""
    ends = [name.removeprefix(prefix) for name in known]
    nearest = difflib.get_close_matches(wrong.removeprefix(prefix), ends, n=1, cutoff=0.6)
    return f"Did you mean {prefix}{nearest[0]}?" if nearest else otherwise
