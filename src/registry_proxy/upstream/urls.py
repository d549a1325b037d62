"""URLs that registries send: targets of redirects and links, and token services. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from yarl import URL

# Signed URLs of storage services have up to some 4,000 characters.
_MAX_URL = 8 * 1024
# DNS names have at most 253 characters (RFC 1035, section 3.1), and a port follows. The encoding of long international
# names takes up to a second.
_MAX_AUTHORITY = 512


def parse_url(text: str, *, encoded: bool = False) -> URL:
    """Return the URL, whose spelling is kept if it is `encoded`. Raise ValueError, also if it is too long."""
    if len(text) > _MAX_URL or len(urlsplit(text).netloc) > _MAX_AUTHORITY:
        raise ValueError("the URL is too long")
    return URL(text, encoded=encoded)
