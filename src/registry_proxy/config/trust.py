"""Files of the working directory, which root reads only if no other user can change them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from registry_proxy.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def check_trusted(path: Path) -> None:
    """Raise ConfigError if this process is root, and another user can change a file or the way to it.

    The user who called sudo has chosen the working directory, and may change it.
    """
    if os.geteuid() != 0:
        return
    absolute = path.absolute()
    for place in (absolute, *absolute.parents):
        reason = _distrust(place, within=place in (absolute, absolute.parent))
        if reason:
            remedy = f"If it is intended, pass the file with --config, or run: chown root {place}; chmod go-w {place}"
            raise ConfigError([Problem(str(absolute), None, f"is not read by root: {reason}", remedy)])


def _distrust(place: Path, *, within: bool) -> str | None:
    """Return why a file or directory is not trusted. Others may write into a directory with a sticky bit further up."""
    status = place.stat()
    if status.st_uid not in {0, int(os.environ.get("SUDO_UID") or 0)}:
        return f"user {status.st_uid} can change {place}"
    if status.st_mode & _WRITABLE and (within or not status.st_mode & stat.S_ISVTX):
        return f"other users can change {place}"
    return None
