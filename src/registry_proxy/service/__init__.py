"""The composition root: construction of the server from its adapters, and the processes that run it."""
