"""Generic asyncio tools, such as background tasks, single-flight and locks. They know nothing of registries."""
