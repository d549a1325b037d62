"""Hash states of blobs that are passed through: a later request for their end begins there, not at the first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from hashlib import _Hash

    from registry_proxy.oci.reference import Digest

_MAX_BLOBS = 64
# Least bytes between two states, and the most states of one blob.
_LEAST_DISTANCE = 16 * 1024 * 1024
_MAX_STATES = 256


class Checkpoints:
    """The states of the last blobs. They are not proved: the digest at the end shows whether they were right."""

    def __init__(self) -> None:
        self._blobs: LRUCache[Digest, dict[int, _Hash]] = LRUCache(_MAX_BLOBS)

    def add(self, digest: Digest, size: int, offset: int, hasher: _Hash) -> None:
        """Keep the state of the first `offset` of `size` bytes, unless there is one shortly before."""
        states = self._blobs.setdefault(digest, {})
        if offset >= max(states, default=0) + max(_LEAST_DISTANCE, size // _MAX_STATES):
            states[offset] = hasher.copy()

    def last(self, digest: Digest, offset: int) -> tuple[int, _Hash] | None:
        """Return the last state at or before `offset`, with its own offset."""
        states = self._blobs.get(digest, {})
        found = max((each for each in states if each <= offset), default=None)
        return None if found is None else (found, states[found].copy())

    def forget(self, digest: Digest) -> None:
        """Drop the states of a blob, because the digest was wrong."""
        self._blobs.pop(digest, None)
