"""Hostile clients against one worker: `python -m bench.hostile`.

Each attack runs for some seconds against one registry, while a probe requests a cached manifest of another one. The
figures are the latency of the probe, and the memory of the worker before, during and after the attack.
"""
