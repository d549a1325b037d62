"""Parsing of tag pages and lists of referrers. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.oci import media_types
from registry_proxy.oci.reference import InvalidTagError, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 8288, section 3. The quantifiers are possessive: the upstream controls the header.
_PARAMETER = r'\s*+;\s*+([^\s;,="<>]++)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s;,"]*+)))?+'
_LINK = re.compile(rf"<([^<>]*+)>((?:{_PARAMETER})*+)")
_PARAMETERS = re.compile(_PARAMETER)


class InvalidListingError(ValueError):
    """The document is not the requested list."""


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw]


def next_link(header: str) -> str | None:
    """Return the target of the next page in a `Link` header."""
    for link in _LINK.finditer(header):
        for name, quoted, token in _PARAMETERS.findall(link[2]):
            if name.lower() == "rel" and "next" in (quoted or token).lower().split():
                return str(link[1])
    return None


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
