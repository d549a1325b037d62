"""The product: what is served from the store, what is asked of upstream, and what becomes of a failure."""
