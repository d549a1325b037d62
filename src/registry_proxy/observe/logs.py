"""Log lines on standard error, as text or as JSON."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from registry_proxy.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_LINE = "%(levelname)-7s %(name)s[%(process)d]: %(message)s"
_ROOT = "registry_proxy"
# sd-daemon(3): the priority of a line that the journal reads from standard error.
_PRIORITIES = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))
_LOWEST_PRIORITY = "<7>"
# Interval of looking for summaries of repeated lines, in seconds.
_SUMMARY_INTERVAL = 10.0


class TextFormatter(logging.Formatter):
    """Formatter that writes the time with its zone, then the line."""

    def __init__(self) -> None:
        super().__init__(f"%(asctime)s {_LINE}")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


class JournalFormatter(logging.Formatter):
    """Formatter for systemd's journal, which records the time itself. The priority is part of each line."""

    def __init__(self) -> None:
        super().__init__(_LINE)

    def format(self, record: logging.LogRecord) -> str:
        priority = next((text for level, text in _PRIORITIES if record.levelno >= level), _LOWEST_PRIORITY)
        return "\n".join(f"{priority}{line}" for line in super().format(record).splitlines())


class JsonFormatter(logging.Formatter):
    """Formatter that writes one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


class _Handler(logging.StreamHandler["TextIO"]):
    """Handler that leaves out repeated lines, and writes their number later."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        for each in self._repeats.admit(record, time.monotonic()):
            super().emit(each)

    def summarize(self) -> None:
        """Write the summaries that are due."""
        for each in self._repeats.summarize(time.monotonic()):
            super().emit(each)


def configure_logs(level: str, style: Literal["text", "json"]) -> None:
    """Send the package's log to standard error."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_formatter(style))
    root = logging.getLogger(_ROOT)
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False


async def summarize_repeats() -> None:
    """Write the number of repeated lines a minute after the first one, until cancelled."""
    while True:
        await asyncio.sleep(_SUMMARY_INTERVAL)
        for handler in logging.getLogger(_ROOT).handlers:
            if isinstance(handler, _Handler):
                handler.summarize()


def is_journal(environ: Mapping[str, str], stream: int) -> bool:
    """Return whether the descriptor leads to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _formatter(style: Literal["text", "json"]) -> logging.Formatter:
    if style == "json":
        return JsonFormatter()
    return JournalFormatter() if is_journal(os.environ, sys.stderr.fileno()) else TextFormatter()
