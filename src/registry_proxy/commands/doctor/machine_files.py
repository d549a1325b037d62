"""The files of a machine's clients."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_proxy.commands.doctor.findings import Finding, fail, not_permitted, warn


@dataclass(frozen=True, slots=True)
class Machine:
    """The directories with the files: `root`, and the user's `home`. `programs` is a PATH."""

    root: Path = Path("/")
    home: Path = Path()
    programs: str | None = None

    def has(self, *programs: str) -> bool:
        """Return whether one of the programs is installed."""
        return any(shutil.which(program, path=self.programs) for program in programs)

    def place(self, path: str) -> Path:
        """Return the file at a path: `/…`, or `~/…`."""
        return self.home / path[2:] if path.startswith("~/") else self.root / path.lstrip("/")


class ClientFiles:
    """Reads files, and collects `findings` about unusable ones. `hidden` counts those that this user can't read."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.findings: list[Finding] = []
        self.hidden = 0

    def json(self, path: str) -> dict[str, Any]:
        """Return the object in a file, empty without a usable file."""
        text = self._text(path)
        try:
            document = json.loads(text) if text.strip() else {}
        except ValueError as error:
            remedy = "Fix the file; the client possibly does not start with it."
            self.findings.append(fail(path, f"not JSON: {error}", remedy))
            return {}
        return document if isinstance(document, dict) else {}

    def toml(self, path: str) -> dict[str, Any]:
        """Return the document in a file, empty without a usable file."""
        try:
            return tomllib.loads(self._text(path))
        except tomllib.TOMLDecodeError as error:
            remedy = "Fix the file; the client can't read it either."
            self.findings.append(fail(path, f"not TOML: {error}", remedy))
            return {}

    def names(self, directory: str, pattern: str) -> list[str]:
        """Return the paths in a directory that match a pattern, sorted; none without the directory."""
        place = self._machine.place(directory)
        if place.is_dir() and not os.access(place, os.R_OK | os.X_OK, effective_ids=True):
            self._hide(directory)
            return []
        found = (each.relative_to(place) for each in place.glob(pattern))
        return [f"{directory}/{each}" for each in sorted(found)]

    def pair(self, directory: str) -> tuple[str, str] | None:
        """Return the client certificate in a directory and its key, None without both."""
        cert, key = (self.names(directory, name) for name in ("client.cert", "client.key"))
        return (str(self._machine.place(cert[0])), str(self._machine.place(key[0]))) if cert and key else None

    def _text(self, path: str) -> str:
        try:
            return self._machine.place(path).read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except PermissionError:
            self._hide(path)
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.findings.append(warn(path, f"unreadable: {reason}", "Fix the file."))
            return ""

    def _hide(self, path: str) -> None:
        self.hidden += 1
        self.findings.append(not_permitted(path, path))
