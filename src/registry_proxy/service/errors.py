"""Errors that prevent start-up."""

from __future__ import annotations


class StartError(Exception):
    """A failed start. The message gives the cause and a fix."""
