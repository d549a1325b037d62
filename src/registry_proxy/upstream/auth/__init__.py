"""Authentication at upstream registries: challenges, tokens, and the sources of credentials."""
