"""Benchmarks: registry-proxy compared with docker-registry and nginx, in one run on one machine.

`python -m bench --help` prints the options. `docs/benchmarks.md` describes how the figures are measured.
Read `__main__`, then `runner`, then `measures`.
"""
