"""What keeps the service from starting."""

from __future__ import annotations


class StartError(Exception):
    """The service can't start; the text says what is in the way and what to do."""
