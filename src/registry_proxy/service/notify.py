"""What systemd is told of the service (sd_notify(3)), and when that is so. Without systemd nobody is told."""

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

# The supervisor gets it when a worker has reported.
REPORTED = signal.SIGIO


class Notifier:
    """Sends states to the socket that `NOTIFY_SOCKET` names. It is for this process alone, so `environ` loses it."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")

    def send(self, *states: str) -> None:
        """Tell states, as `READY=1`. A failure is logged: that nobody listens must not stop the service."""
        if not self._address:
            return
        # An abstract socket is written with @ (unix(7)).
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("can't tell systemd %s at %s: %s", states[0], self._address, error.strerror)


class Readiness:
    """Which workers have yet to report that they serve, or that they have reloaded; systemd is told when all have."""

    def __init__(self, workers: int, notifier: Notifier) -> None:
        self._workers = range(workers)
        self._notifier = notifier
        self._awaited = set(self._workers)
        self._reports, self._report_to = os.pipe()
        fcntl.fcntl(self._reports, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._reports, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)

    def report(self, number: int) -> None:
        """In a worker: it serves as it was last told to."""
        os.write(self._report_to, bytes([number]))

    def expect_reload(self) -> None:
        """In the supervisor: every worker is about to be told to reload."""
        # MONOTONIC_USEC is what Type=notify-reload wants to see.
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._awaited = set(self._workers)

    def collect(self) -> None:
        """In the supervisor, after `REPORTED`."""
        try:
            reports = os.read(self._reports, 4096)
        except BlockingIOError:
            return
        if self._awaited:
            self._awaited.difference_update(reports)
            if not self._awaited:
                self._notifier.send("READY=1", f"STATUS={len(self._workers)} workers serve")

    def stopping(self) -> None:
        """In the supervisor: the service ends."""
        self._notifier.send("STOPPING=1", "STATUS=transfers to clients end")
