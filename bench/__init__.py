"""Benchmarks: registry-proxy beside docker-registry and nginx, in one run on one machine.

`python -m bench --help` shows the use; `docs/benchmarks.md` says how the figures come about.
Read `__main__`, then `runner`, then `measures`.
"""
