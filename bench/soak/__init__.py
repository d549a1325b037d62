"""Soak test: all faults at once for some minutes, with every loss counted: `python -m bench.soak`.

Many clients that check every byte pull from a store that is too small for all images. Registries break, stall, send
wrong data and stop, clients and registries mean harm, workers and servers are killed, and the disk fills up. Under all
faults, no client may get wrong bytes, cached content must be served in an outage, and no files or reservations may be
left.
"""
