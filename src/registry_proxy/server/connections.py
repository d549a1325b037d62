"""The open connections of a server, up to a limit."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from typing import Protocol

log = logging.getLogger(__name__)

# The part of the connections that is dropped at once when there is no room: the choice takes time.
_DROPPED = 1 / 16
_LOG_INTERVAL = 60.0  # seconds


class OpenConnection(Protocol):
    """A connection. `deadline` is the loop's time at which it may be dropped; None while a response is in progress."""

    deadline: float | None

    def finish(self) -> None:
        """Accept no further request. Complete the response in progress."""
        ...

    def abort(self) -> None:
        """Drop the connection now."""
        ...


class OpenConnections(set[OpenConnection]):
    """The open connections, at most `most`, and an event that is set while there are none.

    New clients take precedence over connections that wait for their client: idle ones, and those whose client does not
    read. `opening` is the number of connections that are not open yet, such as during a TLS handshake.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._logged_at = -math.inf
        self.opening = 0
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, connection: OpenConnection) -> None:
        super().add(connection)
        self.empty.clear()

    def remove(self, connection: OpenConnection) -> None:
        super().discard(connection)
        if not self:
            self.empty.set()

    def has_room(self) -> bool:
        """Return whether another connection may be opened. If the limit is reached, drop some that wait."""
        if len(self) + self.opening < self._most:
            return True
        waiting = [(each.deadline, id(each), each) for each in self if each.deadline is not None]
        victims = heapq.nsmallest(max(1, int(self._most * _DROPPED)), waiting)
        for _, _, victim in victims:
            victim.abort()
            self.remove(victim)
        self._log(len(victims))
        return bool(victims)

    def _log(self, dropped: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at < _LOG_INTERVAL:
            return
        self._logged_at = now
        log.warning(
            "%d connections are open, the most this worker accepts: %d that wait for their client were dropped. "
            "Add workers (server.workers), or raise the limit of open files (LimitNOFILE=)",
            self._most,
            dropped,
        )
