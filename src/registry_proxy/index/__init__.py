"""The index: links, tags, sizes and access times of content. Losing the index loses no content."""
