"""Decisions as pure functions and values: times and facts go in as arguments, nothing is read or written."""
