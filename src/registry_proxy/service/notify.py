"""Notifications of the service's state to systemd (sd_notify(3)). Without systemd, none are sent."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger(__name__)

# The signal that the supervisor receives when a worker has reported.
REPORTED = signal.SIGIO


class Notifier:
    """Connection to systemd, through the socket in `NOTIFY_SOCKET`.

    Child processes must not use the socket, so the variable is removed from `environ`.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        process = environ.pop("WATCHDOG_PID", str(os.getpid()))
        # sd_watchdog_enabled(3): in microseconds.
        timeout = environ.pop("WATCHDOG_USEC", "")
        self.has_watchdog = timeout.isdecimal() and process == str(os.getpid())

    def send(self, *states: str) -> None:
        """Send states, such as `READY=1`. Log a failure: a missing listener must not stop the service."""
        if not self._address:
            return
        # An abstract socket is written with @ (unix(7)).
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("cannot send %s to systemd at %s: %s", states[0], self._address, error.strerror)


class Readiness:
    """State of the workers that are starting or reloading. Once all have reported, READY=1 is sent to systemd.

    `remark` is added to the status that `systemctl status` shows.
    """

    def __init__(self, workers: int, notifier: Notifier) -> None:
        self._workers = range(workers)
        self._notifier = notifier
        self.remark = ""
        self._awaited = set(self._workers)
        self._reports, self._reports_writer = os.pipe()
        fcntl.fcntl(self._reports, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._reports, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)

    def report(self, number: int) -> None:
        """Report, from worker `number`, that it serves with the current configuration."""
        os.write(self._reports_writer, bytes([number]))

    def expect_reload(self) -> None:
        """Expect a report of every worker, from the supervisor, before it sends SIGHUP to them."""
        # Type=notify-reload requires MONOTONIC_USEC.
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._awaited = set(self._workers)

    def expect_workers(self, status: str) -> None:
        """Expect a report of every worker, from the supervisor, after workers start again. `status` is for systemd."""
        self._notifier.send(f"STATUS={status}")
        self._awaited = set(self._workers)

    def read_reports(self) -> None:
        """Read the reports, in the supervisor, after the signal `REPORTED`."""
        try:
            reports = os.read(self._reports, 4096)
        except BlockingIOError:
            return
        if self._awaited:
            self._awaited.difference_update(reports)
            if not self._awaited:
                remark = f"; {self.remark}" if self.remark else ""
                self._notifier.send("READY=1", f"STATUS={len(self._workers)} workers serve{remark}")

    def announce_life(self) -> None:
        """Notify systemd's watchdog, from the supervisor, that the workers respond. Call it every second."""
        if self._notifier.has_watchdog:
            self._notifier.send("WATCHDOG=1")

    def announce_stop(self) -> None:
        """Notify systemd, from the supervisor, that the service stops."""
        self._notifier.send("STOPPING=1", "STATUS=finishing transfers to clients")
