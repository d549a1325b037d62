"""Generic tools, such as background tasks, single-flight, locks and file stamps. They know nothing of registries."""
