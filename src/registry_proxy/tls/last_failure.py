"""Record of failed issuance, kept on disk so that the schedule survives a restart."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.atomic_files import write_private
from registry_proxy.oci.documents import InvalidDocumentError, decode_document

if TYPE_CHECKING:
    from pathlib import Path


class LastFailure(msgspec.Struct, frozen=True):
    """Number of consecutive failed attempts, time and reason of the last one, and time of the next attempt.

    Times are seconds since the epoch. `configuration` is that of the attempt (`CertificateConfig.fingerprint`).
    """

    failures: int
    failed_at: float
    # Files of earlier versions have this name.
    retry_at: float = msgspec.field(name="try_again_at")
    problem: str
    configuration: str = ""

    @classmethod
    def load(cls, path: Path) -> LastFailure | None:
        """Return the failure recorded in a file, or None if the file is missing or unreadable."""
        try:
            return decode_document(path.read_bytes(), cls)
        except (OSError, InvalidDocumentError):
            return None

    def save(self, path: Path) -> None:
        """Write the record. Ignore a failure: the record only spares the CA early retries."""
        with contextlib.suppress(OSError):
            write_private(path, msgspec.json.encode(self))
