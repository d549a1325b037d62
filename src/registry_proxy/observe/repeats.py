"""Bounds on repeated log lines: clients and upstreams cause most lines, so they could fill the disk."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# In seconds: within this time an identical line is logged once, and at most MAX_LINES different lines of a kind.
WINDOW = 60.0
MAX_LINES = 20
# The operator causes the first ones, by a reload or a certificate: each is the response to an action. Programs such as
# fail2ban count failed logins, whose log has its own bounds.
_NEVER_REPEATED = ("registry_proxy.service", "registry_proxy.tls", "registry_proxy.server.logins")


@dataclass(slots=True)
class _Kind:
    """The lines of one template since `begun_at`: how often each was repeated, and how many others were left out."""

    record: logging.LogRecord
    begun_at: float
    repeats: dict[str, int] = field(default_factory=dict)
    left_out: int = 0


class Repeats:
    """The warnings and errors of the last minute, by template. Times are seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admit(self, record: logging.LogRecord, now: float) -> Iterator[logging.LogRecord]:
        """Yield the record unless it repeats an earlier one, after a summary of earlier ones that is due."""
        if record.levelno < logging.WARNING or record.name.startswith(_NEVER_REPEATED):
            yield record
            return
        key, message = (record.name, str(record.msg)), record.getMessage()
        kind = self._kinds.get(key)
        if kind is None or now - kind.begun_at >= WINDOW:
            yield from () if kind is None else _summary(kind)
            kind = self._kinds[key] = _Kind(record, now)
        if message in kind.repeats:
            kind.repeats[message] += 1
        elif len(kind.repeats) == MAX_LINES:
            kind.left_out += 1
        else:
            kind.repeats[message] = 0
            yield record

    def summarize(self, now: float) -> Iterator[logging.LogRecord]:
        """Yield the summaries that are due."""
        for key in [key for key, kind in self._kinds.items() if now - kind.begun_at >= WINDOW]:
            yield from _summary(self._kinds.pop(key))


def _summary(kind: _Kind) -> Iterator[logging.LogRecord]:
    for message, count in kind.repeats.items():
        if count:
            yield _record(kind, f"{message} (repeated {count} times within a minute)")
    if kind.left_out:
        yield _record(
            kind, f"{kind.left_out} more lines like the {MAX_LINES} above were left out within a minute"
        )


def _record(kind: _Kind, message: str) -> logging.LogRecord:
    first = kind.record
    return logging.LogRecord(first.name, first.levelno, first.pathname, first.lineno, message, (), None)
