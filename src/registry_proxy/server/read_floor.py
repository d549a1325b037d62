"""The floor for clients: how long the server waits for one that reads slowly."""

from __future__ import annotations

# A client must accept this many bytes for the time below. That is 1.7 KiB/s for content in files.
_LEAST = 512 * 1024
# In seconds. A response that is in memory is kept for a shorter time.
FOR_FILES = 300.0
FOR_MEMORY = 30.0


class ReadFloor:
    """The time in seconds that is left to wait for a client, during one response."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.left = limit
        self._accepted = 0

    def accepted(self, count: int) -> None:
        """Record that the client accepted bytes."""
        self._accepted += count
        if self._accepted >= _LEAST:
            self._accepted = 0
            self.left = self._limit

    def waited(self, seconds: float) -> None:
        """Record a wait for the client."""
        self.left -= seconds
