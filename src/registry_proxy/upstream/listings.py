"""Parsing of tag pages and lists of referrers. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.oci import media_types
from registry_proxy.oci.reference import InvalidTagError, Tag
from registry_proxy.upstream.base import TagPage

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 8288, section 3, as far as registries use it.
_NEXT_LINK = re.compile(
    r'<([^<>]*)>(?:\s*;\s*[a-z]+=(?:"[^"]*"|[^\s,;]+))*?\s*;\s*rel="?next"?', re.IGNORECASE
)


class InvalidListingError(ValueError):
    """The document is not the requested list."""


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw]


def next_link(header: str) -> str | None:
    """Return the target of the next page in a `Link` header."""
    match = _NEXT_LINK.search(header)
    return match[1] if match else None


def parse_tags(raw: bytes) -> tuple[str, ...]:
    """Return the tags of a page. Omit invalid ones, which can't be pulled. Raise InvalidListingError."""
    try:
        page = msgspec.json.decode(raw, type=_Tags)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidListingError(f"the response is not a list of tags: {error}") from None
    return tuple(tag for tag in page.tags or () if _is_tag(tag))


def _is_tag(text: str) -> bool:
    try:
        Tag(text)
    except InvalidTagError:
        return False
    return True


def cut_page(tags: tuple[str, ...], limit: int | None, last: str | None, *, more: bool) -> TagPage:
    """Return the requested page, even if the upstream ignored `n` and `last` (registry.k8s.io's redirect)."""
    if last in tags:
        tags = tags[tags.index(last) + 1 :]
    if limit is not None and len(tags) > limit:
        return TagPage(tags[:limit], more=True)
    return TagPage(tags, more)


def parse_referrers(raw: bytes) -> list[bytes]:
    """Return the descriptors of an image index, unparsed. Raise InvalidListingError."""
    try:
        index = msgspec.json.decode(raw, type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidListingError(f"the response is not an image index: {error}") from None
    return [bytes(descriptor) for descriptor in index.manifests]


def referrers_index(descriptors: Iterable[bytes]) -> bytes:
    """Return an image index of these descriptors."""
    return b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (
        media_types.OCI_INDEX.encode(),
        b",".join(descriptors),
    )
