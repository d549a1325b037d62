"""Setting up a server and its clients. `serve` needs nothing of this."""
