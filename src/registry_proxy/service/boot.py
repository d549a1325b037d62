"""The mark of a running service: after it ended together with its machine, the index may lack the last writes."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from registry_proxy.atomic_files import write_private
from registry_proxy.oci.documents import InvalidDocumentError, decode_document

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# random(4). The confinement by systemd hides this file from the service.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# In seconds. Clocks are adjusted by less.
_TOLERANCE = 60.0


class Boot(msgspec.Struct, frozen=True):
    """One boot of the machine: its ID, if it is known, when it was (Unix time), and the seconds since then."""

    boot_id: str
    booted_at: float
    uptime: float

    @classmethod
    def current(cls) -> Self:
        """Return this boot."""
        try:
            boot_id = _BOOT_ID.read_text().strip()
        except OSError:
            boot_id = ""
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        return cls(boot_id, time.time() - uptime, uptime)

    def is_same(self, earlier: Boot) -> bool:
        """Return whether this is still an earlier boot. A clock that steps looks like another boot."""
        if self.boot_id and earlier.boot_id:
            return self.boot_id == earlier.boot_id
        return self.uptime >= earlier.uptime and abs(self.booted_at - earlier.booted_at) < _TOLERANCE


class BootMark:
    """A file that exists while the service runs, and after it ended without a clean end."""

    def __init__(self, path: Path, current: Callable[[], Boot] = Boot.current) -> None:
        self._path = path
        self._current = current

    def begin(self) -> None:
        """Set the mark, unless one is left."""
        if self._read() is None:
            self.renew()

    def shows_power_loss(self) -> bool:
        """Return whether the service ended together with its machine, and the store was not counted since."""
        earlier = self._read()
        return earlier is not None and not self._current().is_same(earlier)

    def renew(self) -> None:
        """Set the mark for this boot: the store is counted. Log a failure: a full disk must not stop the service."""
        try:
            write_private(self._path, msgspec.json.encode(self._current()))
        except OSError as error:
            log.warning(
                "cannot write %s, so a power loss will not be noticed: %s", self._path, error.strerror
            )

    def end(self) -> None:
        """Remove the mark after a clean end, unless the store still has to be counted."""
        if not self.shows_power_loss():
            with suppress(OSError):  # an unnecessary count is harmless
                self._path.unlink(missing_ok=True)

    def _read(self) -> Boot | None:
        try:
            return decode_document(self._path.read_bytes(), Boot)
        except FileNotFoundError:
            return None
        except (OSError, InvalidDocumentError):
            return Boot("", 0.0, 0.0)  # a power loss may have damaged the mark, too
