"""Log lines on standard error, as text or as JSON."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import msgspec

_TEXT = "%(asctime)s %(levelname)-7s %(name)s[%(process)d]: %(message)s"


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


def configure_logs(level: str, style: Literal["text", "json"]) -> None:
    """Send the package's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(_TEXT))
    root = logging.getLogger("registry_proxy")
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False
