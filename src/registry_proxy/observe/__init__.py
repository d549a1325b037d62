"""Observation of the service: counters and logs."""
