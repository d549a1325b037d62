"""Parsing of tag pages and lists of referrers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from registry_proxy.oci import media_types
from registry_proxy.oci.documents import InvalidDocumentError, decode_document
from registry_proxy.oci.link_header import link_target
from registry_proxy.oci.reference import TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

# A list with more entries is an attack on the processor. Registries have pages of at most some 10,000 entries, or send
# all tags on one page.
MAX_ENTRIES = 200_000


class InvalidListingError(ValueError):
    """The document is not the requested list."""


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw]


def next_link(header: str) -> str | None:
    """Return the target of the next page in a `Link` header."""
    return link_target(header, "next")


def parse_tags(raw: bytes) -> tuple[str, ...]:
    """Return the tags of a page. Omit invalid ones, which can't be pulled. Raise InvalidListingError."""
    try:
        page = decode_document(_bounded(raw, b","), _Tags)
    except InvalidDocumentError as error:
        raise InvalidListingError(f"the response is not a list of tags: {error}") from None
    return tuple(tag for tag in page.tags or () if TAG.fullmatch(tag))


def parse_referrers(raw: bytes) -> list[bytes]:
    """Return the descriptors of an image index, unparsed. Raise InvalidListingError."""
    try:
        index = decode_document(_bounded(raw, b"{"), _Index)
    except InvalidDocumentError as error:
        raise InvalidListingError(f"the response is not an image index: {error}") from None
    descriptors = [bytes(descriptor) for descriptor in index.manifests]
    if not all(descriptor.startswith(b"{") for descriptor in descriptors):
        raise InvalidListingError("the response is not an image index: a descriptor is not an object")
    return descriptors


def _bounded(raw: bytes, mark: bytes) -> bytes:
    """Return the document. Raise InvalidListingError if it has more entries than MAX_ENTRIES, by the mark of each.

    The decoder holds all threads: 8 MiB of the shortest entries would take 0.2 s.
    """
    if raw.count(mark) > MAX_ENTRIES:
        raise InvalidListingError(f"the list has more than the {MAX_ENTRIES:,} entries allowed")
    return raw


def referrers_index(descriptors: Iterable[bytes]) -> bytes:
    """Return an image index of these descriptors."""
    return b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (
        media_types.OCI_INDEX.encode(),
        b",".join(descriptors),
    )
