"""What is known of attempts to get a certificate that failed: kept on disk, so that a restart doesn't forget it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.tls.files import write_private

if TYPE_CHECKING:
    from pathlib import Path


class LastFailure(msgspec.Struct, frozen=True):
    """Attempts in a row that failed, the last one's time and reason, and when the next one is due.

    Times are seconds since the epoch.
    """

    failures: int
    failed_at: float
    try_again_at: float
    problem: str

    @classmethod
    def load(cls, path: Path) -> LastFailure | None:
        """The failure that a file tells of; None without one that can be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def save(self, path: Path) -> None:
        """Keep it, if that is possible."""
        with contextlib.suppress(OSError):
            write_private(path, msgspec.json.encode(self))
