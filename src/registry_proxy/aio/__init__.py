"""Generic tools, such as background tasks, single-flight, locks and file stamps. They do not depend on registries."""
