"""Where content lies: one file a digest, and one for each transfer that is under way."""
