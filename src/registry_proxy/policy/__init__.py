"""Decisions as pure functions and values. Times and facts are arguments; nothing is read or written."""
