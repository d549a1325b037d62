"""A soak: everything at once, for minutes, with every loss counted: `python -m bench.soak`.

Many clients that check every byte pull from a store that is too small for all images, while registries break, stall,
lie and go away, workers and servers are killed, and the disk fills up. Whatever goes wrong, no client may get wrong
bytes, nothing that is cached may be missing in an outage, and nothing may be left behind.
"""
