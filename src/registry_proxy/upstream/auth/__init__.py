"""Authentication at upstream registries: challenges, tokens, and where credentials come from."""
