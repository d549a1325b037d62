"""Errors that prevent start-up, or end a worker."""

from __future__ import annotations


class StartError(Exception):
    """A failed start. The message gives the cause and a fix."""


class IndexLostError(Exception):
    """The index of a running worker cannot be used any more, and neither can that of the other workers."""
