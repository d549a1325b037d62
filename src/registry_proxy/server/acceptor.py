"""Acceptor of a listening socket: a few connections per turn of the event loop, and none while there is no room."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

log = logging.getLogger(__name__)

# Connections that may wait in the kernel.
_BACKLOG = 1024
# asyncio accepts a whole backlog at once, which stops all responses for up to a second.
_PER_TURN = 4
# In seconds: the pause if the process has no descriptors, and so the least time between two log lines about it.
_PAUSE = 1.0


class Acceptor:
    """Acceptor that calls `open_connection` with each connection, as long as `has_room` returns true."""

    def __init__(
        self,
        listener: socket.socket,
        open_connection: Callable[[socket.socket], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._listener = listener
        self._open_connection = open_connection
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept connections until `close`."""
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._resume()

    def close(self) -> None:
        """Stop, and close the listening socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_PER_TURN):
            if not self._has_room():
                return self._wait()
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return None
            except OSError as error:  # mostly too many open files: accept again when some are closed
                log.error("connection not accepted: %s. Raise the limit of open files (LimitNOFILE=)", error)  # noqa: TRY400
                return self._wait()
            connection.setblocking(False)
            self._open_connection(connection)
        return None

    def _wait(self) -> None:
        # The socket stays readable, so the loop would call again at once.
        with suppress(ValueError):
            self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE, self._resume)
