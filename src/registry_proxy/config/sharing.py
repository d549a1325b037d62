"""Files whose group is not the owner's own: their owner shares them with it, such as root with a service."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


def is_shared(status: os.stat_result) -> bool:
    """Return whether the file has another group than its owner, so that access by the group is intended."""
    try:
        own = pwd.getpwuid(status.st_uid).pw_gid
    except KeyError:
        own = status.st_uid  # a user of a container, without an entry on this machine
    return status.st_gid != own
