"""What is known of the content: links, tags, sizes, last uses. It can be lost without losing content."""
