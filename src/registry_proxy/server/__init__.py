"""The HTTP edge: connections, routing, and answers in the registry's form."""
